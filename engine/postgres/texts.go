package postgres

import "strings"

// What is sent to a server. {s} stands for the schema. Statements of both dialects are
// held against what DSQL refuses, by a test.

// pgTexts are the statements of PostgreSQL.
type pgTexts struct {
	begin, lock, stored, cursor   string
	insert, update, entry, state  string
	move, first, trimEra          string
	read, scan                    string
	states, entries               string
	lost, refilling, refilled     string
	cursors, trim, trimOver       string
	clock, due, sweeper, lockOnly string
	sweep, put                    string
	bytes, notify, listen         string
}

// dsqlTexts are the statements of DSQL.
type dsqlTexts struct {
	begin, stored, insert, update string
	read, scan                    string
	clock, sweep, put             string
	actor, newActor               string
}

// Statements that both dialects have.
const (
	commitText   = `COMMIT`
	rollbackText = `ROLLBACK`
	insertText   = `INSERT INTO {s}.record (id, state, keep_until, due) VALUES ($1, $2, $3, $4)`
	updateText   = `UPDATE {s}.record SET state = $2, keep_until = $3, due = $4 WHERE id = $1`
	scanText     = `SELECT now(), id, state FROM {s}.record WHERE id > $1 AND id < $2 ORDER BY id LIMIT $3`
)

func newPgTexts(schema string) pgTexts {
	q := quoter(schema)
	return pgTexts{
		begin: `BEGIN ISOLATION LEVEL READ COMMITTED`,
		lock: q(`SELECT clock_timestamp(), (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint,
			head, logged, eras, server, bytes FROM {s}.partition WHERE partition = $1 FOR UPDATE`),
		stored: q(`SELECT id, state, due FROM {s}.record WHERE id = ANY($1)`),
		cursor: q(`SELECT actor, n, fork FROM {s}.cursor WHERE partition = $1 AND region = $2`),
		insert: q(insertText),
		update: q(updateText),
		entry:  q(`INSERT INTO {s}.log (partition, n, total, entry) VALUES ($1, $2, $3, $4)`),
		state: q(`UPDATE {s}.partition SET head = $2, logged = $3, eras = $4, server = $5, bytes = $6
			WHERE partition = $1`),
		move:    q(`UPDATE {s}.cursor SET actor = $3, n = $4, fork = $5 WHERE partition = $1 AND region = $2`),
		first:   q(`INSERT INTO {s}.cursor (partition, region, actor, n, fork) VALUES ($1, $2, $3, $4, $5)`),
		trimEra: q(`DELETE FROM {s}.log WHERE partition = $1 AND n <= $2`),
		read: q(`SELECT clock_timestamp(), p.refill, r.state
			FROM {s}.partition p LEFT JOIN {s}.record r ON r.id = $2 WHERE p.partition = $1`),
		scan: q(scanText),
		states: q(`SELECT partition, head, eras, server, NOT pg_is_in_recovery(),
			(extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint, logged FROM {s}.partition`),
		entries: q(`SELECT n, entry FROM {s}.log WHERE partition = $1 AND n > $2 AND n <= $3
			AND total <= $5 + (SELECT total FROM {s}.log WHERE partition = $1 AND n > $2 ORDER BY n LIMIT 1)
			ORDER BY n LIMIT $4`),
		lost:      q(`SELECT count(*) FROM {s}.partition WHERE refill = ANY($1)`),
		refilling: q(`UPDATE {s}.partition SET refill = 1`),
		refilled:  q(`UPDATE {s}.partition SET refill = 2 WHERE refill <> 0`),
		cursors:   q(`SELECT partition, actor, n FROM {s}.cursor WHERE region = $1`),
		trim: q(`DELETE FROM {s}.log WHERE partition = $1 AND n IN
			(SELECT n FROM {s}.log WHERE partition = $1 AND n <= $2 ORDER BY n LIMIT $3)`),
		trimOver: q(`DELETE FROM {s}.log WHERE partition = $1 AND n IN
			(SELECT n FROM {s}.log WHERE partition = $1 AND total - octet_length(entry) - $5 < $2 AND n < $4
			ORDER BY n LIMIT $3)`),
		clock:    `SELECT clock_timestamp()`,
		due:      q(`SELECT id FROM {s}.record WHERE due <= $1 ORDER BY due LIMIT $2`),
		sweeper:  `SELECT pg_try_advisory_xact_lock($1)`,
		lockOnly: q(`SELECT partition FROM {s}.partition WHERE partition = $1 FOR UPDATE`),
		sweep: q(`WITH gone AS (DELETE FROM {s}.record WHERE id = ANY($1) AND keep_until <= $2
				RETURNING octet_length(state) + $4 AS size)
			UPDATE {s}.partition SET bytes = greatest(0, bytes - coalesce((SELECT sum(size) FROM gone), 0))
			WHERE partition = $3`),
		put:    q(`UPDATE {s}.record SET due = keep_until WHERE id = ANY($1) AND keep_until > $2`),
		bytes:  q(`SELECT sum(bytes)::bigint FROM {s}.partition`),
		notify: `BEGIN; SET LOCAL synchronous_commit TO off; NOTIFY ` + channel(schema) + `; COMMIT`,
		listen: `LISTEN ` + channel(schema),
	}
}

func newDsqlTexts(schema string) dsqlTexts {
	q := quoter(schema)
	return dsqlTexts{
		begin:  `BEGIN`,
		stored: q(`SELECT now(), r.state, r.due FROM (SELECT 1) one LEFT JOIN {s}.record r ON r.id = $1`),
		insert: q(insertText),
		update: q(updateText),
		read:   q(`SELECT now(), r.state FROM (SELECT 1) one LEFT JOIN {s}.record r ON r.id = $1`),
		scan:   q(scanText),
		clock:  `SELECT now()`,
		sweep: q(`DELETE FROM {s}.record WHERE id IN
			(SELECT id FROM {s}.record WHERE due <= $1 AND keep_until <= $1 LIMIT $2)`),
		put: q(`UPDATE {s}.record SET due = keep_until WHERE id IN
			(SELECT id FROM {s}.record WHERE due <= $1 AND keep_until > $1 LIMIT $2)`),
		actor:    q(`SELECT actor FROM {s}.actor WHERE region = $1`),
		newActor: q(`INSERT INTO {s}.actor (region, actor) VALUES ($1, $2)`),
	}
}

// quoter returns what puts a schema's name into a statement. Config.check has let it
// pass: small letters, digits and underscores.
func quoter(schema string) func(string) string {
	return func(text string) string { return strings.ReplaceAll(text, "{s}", `"`+schema+`"`) }
}

// channel returns the name that news of a schema's log are told under.
func channel(schema string) string { return `"roam_` + schema + `"` }
