package process

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"go.temporal.io/sdk/temporal"
)

// version is set by a release build with
// -ldflags "-X genesys-fanout/internal/process.version=v1.2.3".
var version string

// Version returns the release of this build. If the build is not a release, it returns the
// commit that it was built from.
func Version() string {
	info, _ := debug.ReadBuildInfo()
	return versionOf(version, info)
}

func versionOf(release string, info *debug.BuildInfo) string {
	if release != "" || info == nil {
		return cmp.Or(release, "unknown")
	}
	if info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	settings := map[string]string{}
	for _, setting := range info.Settings {
		settings[setting.Key] = setting.Value
	}
	commit := cmp.Or(settings["vcs.revision"], "devel")
	if settings["vcs.modified"] == "true" {
		commit += "+dirty"
	}
	return commit
}

// versionLine returns the line that --version prints, with all versions that a bug report
// needs.
func versionLine(name string) string {
	return fmt.Sprintf("%s %s (%s, Temporal SDK v%s)", name, Version(), runtime.Version(), strings.TrimPrefix(temporal.SDKVersion, "v"))
}
