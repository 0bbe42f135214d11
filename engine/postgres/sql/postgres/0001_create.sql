-- What is known of each session and user.
CREATE TABLE {s}.record (
  id text COLLATE "C" PRIMARY KEY,
  state bytea NOT NULL,
  keep_until bigint NOT NULL,
  due bigint NOT NULL
) WITH (fillfactor = 85);
CREATE INDEX record_due ON {s}.record (due);

-- The state of each partition's log. A row is written with every write of its partition.
CREATE TABLE {s}.partition (
  partition smallint PRIMARY KEY,
  head bigint NOT NULL DEFAULT 0,
  logged bigint NOT NULL DEFAULT 0,
  eras bytea NOT NULL DEFAULT '',
  server bigint NOT NULL DEFAULT 0,
  bytes bigint NOT NULL DEFAULT 0,
  refill smallint NOT NULL DEFAULT 0
) WITH (fillfactor = 10);
INSERT INTO {s}.partition (partition) SELECT generate_series(0, 63);

-- The log for peers.
CREATE TABLE {s}.log (
  partition smallint NOT NULL,
  n bigint NOT NULL,
  total bigint NOT NULL,
  entry bytea NOT NULL,
  PRIMARY KEY (partition, n)
);

-- How far the log of another Region was taken in.
CREATE TABLE {s}.cursor (
  partition smallint NOT NULL,
  region smallint NOT NULL,
  actor integer NOT NULL,
  n bigint NOT NULL,
  fork bigint NOT NULL,
  PRIMARY KEY (partition, region)
);
