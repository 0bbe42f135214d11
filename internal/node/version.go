package node

import (
	"runtime/debug"
	"slices"

	"github.com/roam-sessions/roam/internal/feed"
)

// buildVersion returns the version of this build, or the revision that it was made of;
// empty if neither is known.
func buildVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	i := slices.IndexFunc(info.Settings, func(s debug.BuildSetting) bool { return s.Key == "vcs.revision" })
	if i < 0 {
		return ""
	}
	return info.Settings[i].Value[:min(12, len(info.Settings[i].Value))]
}

func equal(a, b feed.View) bool {
	return a.Deployment == b.Deployment && a.Index == b.Index && a.Epoch == b.Epoch && a.Primary == b.Primary &&
		a.Next == b.Next && a.NextEpoch == b.NextEpoch && slices.Equal(a.Away, b.Away) && a.Version == b.Version && a.File == b.File
}
