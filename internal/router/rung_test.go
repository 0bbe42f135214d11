package router

import "testing"

func FuzzParseMode(f *testing.F) {
	for _, s := range []string{"token", "primary", "retry", "accept", "", "Token"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if m, err := ParseMode(s); err == nil && m.String() != s {
			t.Errorf("ParseMode(%q) = %v", s, m)
		}
	})
}
