-- What is known of each session and user.
CREATE TABLE IF NOT EXISTS {s}.record (
  id text PRIMARY KEY,
  state bytea NOT NULL,
  keep_until bigint NOT NULL,
  due bigint NOT NULL
);
CREATE INDEX ASYNC IF NOT EXISTS record_due ON {s}.record (due);

-- Who writes for each Region.
CREATE TABLE IF NOT EXISTS {s}.actor (
  region smallint PRIMARY KEY,
  actor integer NOT NULL
);
