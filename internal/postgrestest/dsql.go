package postgrestest

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// A Session holds what one connection sends against what Aurora DSQL refuses, as AWS's
// pages on its compatibility with PostgreSQL have it. It knows words and not grammar:
// what it lets pass may still be refused. The zero Session is at the beginning.
type Session struct {
	within bool // a transaction that was begun
	ddl    int  // statements of it that change the schema
	dml    bool // it reads or writes rows
}

// Statement returns why a statement that comes next would be refused; nil if nothing is
// known against it.
func (s *Session) Statement(sql string) error {
	words := split(sql)
	if i := slices.Index(words, ";"); i >= 0 && i < len(words)-1 {
		return fmt.Errorf("several statements in one text: %s", short(sql))
	}
	for _, r := range refusals() {
		if r.is(words) {
			return fmt.Errorf("%s: %s", r.why, short(sql))
		}
	}
	return s.order(words, sql)
}

// order notes where in a transaction a statement stands.
func (s *Session) order(words []string, sql string) error {
	if len(words) == 0 {
		return nil
	}
	switch words[0] {
	case "BEGIN", "START":
		*s = Session{within: true}
		return nil
	case "COMMIT", "END", "ROLLBACK", "ABORT":
		*s = Session{}
		return nil
	case "SET", "SHOW", "DEALLOCATE":
		return nil
	}
	if !s.within {
		*s = Session{}
	}
	if slices.Contains([]string{"CREATE", "ALTER", "DROP", "GRANT", "REVOKE"}, words[0]) {
		s.ddl++
	} else {
		s.dml = true
	}
	switch {
	case s.ddl > 1:
		return fmt.Errorf("a second change of the schema in one transaction: %s", short(sql))
	case s.ddl == 1 && s.dml:
		return fmt.Errorf("a change of the schema and of rows in one transaction: %s", short(sql))
	}
	return nil
}

func short(sql string) string { return fmt.Sprintf("%.80q", strings.Join(strings.Fields(sql), " ")) }

var (
	// literals are what is between quotes, and comments.
	literals = regexp.MustCompile(`(?s)'(?:[^']|'')*'|\$[A-Za-z_]*\$.*?\$[A-Za-z_]*\$|--[^\n]*|/\*.*?\*/`)
	// quoted are names in quotes: no keywords.
	quoted  = regexp.MustCompile(`"(?:[^"]|"")*"`)
	wordsOf = regexp.MustCompile(`\$?[A-Z0-9_]+|\[|\S`)
)

// split returns the words of a statement in capitals: strings are one quote, names in
// quotes two.
func split(sql string) []string {
	sql = literals.ReplaceAllStringFunc(sql, func(s string) string {
		if strings.HasPrefix(s, "--") || strings.HasPrefix(s, "/*") {
			return " "
		}
		return " ' "
	})
	sql = quoted.ReplaceAllString(sql, ` QUOTED_NAME `)
	return wordsOf.FindAllString(strings.ToUpper(sql), -1)
}

// A refusal is something that DSQL does not take.
type refusal struct {
	why string
	is  func(words []string) bool
}

// anywhere are words that no statement may have.
func anywhere() map[string][]string {
	return map[string][]string{
		"no TRUNCATE":                  {"TRUNCATE"},
		"no SAVEPOINT":                 {"SAVEPOINT"},
		"no VACUUM":                    {"VACUUM", "ANALYZE", "CLUSTER", "REINDEX"},
		"no LISTEN and NOTIFY":         {"LISTEN", "NOTIFY", "UNLISTEN", "PG_NOTIFY"},
		"no locks of tables":           {"LOCK"},
		"no sequences":                 {"SEQUENCE", "SERIAL", "BIGSERIAL", "SMALLSERIAL", "SERIAL4", "SERIAL8", "NEXTVAL", "SETVAL", "CURRVAL"},
		"no identity columns":          {"GENERATED", "IDENTITY"},
		"no foreign keys":              {"REFERENCES", "FOREIGN"},
		"no triggers":                  {"TRIGGER"},
		"no extensions":                {"EXTENSION"},
		"no temporary tables":          {"TEMP", "TEMPORARY", "UNLOGGED"},
		"no tablespaces":               {"TABLESPACE"},
		"no partitioned tables":        {"INHERITS"},
		"no materialized views":        {"MATERIALIZED"},
		"one database":                 {"DATABASE"},
		"no procedural languages":      {"PLPGSQL", "DO", "PROCEDURE"},
		"no state of a server":         {"PG_POSTMASTER_START_TIME", "PG_IS_IN_RECOVERY", "PG_CURRENT_WAL_LSN"},
		"no indexes made concurrently": {"CONCURRENTLY"},
		"no rules and policies":        {"RULE", "POLICY"},
	}
}

func refusals() []refusal {
	var out []refusal
	for why, words := range anywhere() {
		out = append(out, refusal{why, func(in []string) bool {
			return slices.ContainsFunc(words, func(w string) bool { return slices.Contains(in, w) })
		}})
	}
	return append(out,
		refusal{"no advisory locks", func(in []string) bool {
			return slices.ContainsFunc(in, func(w string) bool { return strings.Contains(w, "ADVISORY") })
		}},
		refusal{"nothing is locked by reading it", func(in []string) bool {
			return has(in, "FOR", "UPDATE") || has(in, "FOR", "SHARE") || has(in, "FOR", "NO", "KEY") || has(in, "FOR", "KEY")
		}},
		refusal{"indexes are made with ASYNC", func(in []string) bool {
			return (has(in, "CREATE", "INDEX") || has(in, "CREATE", "UNIQUE", "INDEX")) && !has(in, "INDEX", "ASYNC")
		}},
		refusal{"indexes have no order, condition or method", func(in []string) bool {
			return has(in, "INDEX", "ASYNC") && oneOf(in, "ASC", "DESC", "WHERE", "USING")
		}},
		refusal{"no such type of a column", func(in []string) bool {
			return isTable(in) && oneOf(in, "JSON", "JSONB", "XML", "ARRAY", "[", "MONEY", "TSVECTOR", "HSTORE", "INT4RANGE")
		}},
		refusal{"no such clause of a table", func(in []string) bool {
			return has(in, "CREATE", "TABLE") && oneOf(in, "COLLATE", "EXCLUDE", "AS", "WITH") || has(in, "PARTITION", "BY") && isTable(in)
		}},
		refusal{"no types of one's own", func(in []string) bool { return has(in, "CREATE", "TYPE") }},
		refusal{"no ALTER SYSTEM", func(in []string) bool { return has(in, "ALTER", "SYSTEM") }},
		refusal{"one isolation level", func(in []string) bool { return has(in, "ISOLATION", "LEVEL") && !has(in, "REPEATABLE", "READ") }},
		refusal{"at most 3,000 rows in a transaction: want one by its key, or a LIMIT", unbounded},
	)
}

func isTable(in []string) bool { return has(in, "CREATE", "TABLE") || has(in, "ALTER", "TABLE") }

// unbounded reports whether a statement may write any number of rows.
func unbounded(in []string) bool {
	if len(in) == 0 {
		return false
	}
	switch in[0] {
	case "INSERT":
		return !slices.Contains(in, "VALUES") && !slices.Contains(in, "LIMIT")
	case "UPDATE", "DELETE":
		i := slices.Index(in, "WHERE")
		byKey := i >= 0 && len(in) > i+3 && in[i+2] == "=" && strings.HasPrefix(in[i+3], "$")
		return !byKey && !slices.Contains(in, "LIMIT")
	}
	return slices.Contains(in, "DELETE") || has(in, "UPDATE") && slices.Contains(in, "SET") && in[0] == "WITH"
}

// has reports whether words come one after the other.
func has(in []string, words ...string) bool {
	for i := range in {
		if i+len(words) <= len(in) && slices.Equal(in[i:i+len(words)], words) {
			return true
		}
	}
	return false
}

// oneOf reports whether one of some words is there.
func oneOf(in []string, words ...string) bool {
	return slices.ContainsFunc(words, func(w string) bool { return slices.Contains(in, w) })
}
