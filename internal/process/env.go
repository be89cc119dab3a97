package process

import (
	"cmp"
	"maps"
	"os"
	"slices"
	"strings"
)

// Env is the environment of a process without its empty variables. A variable that is set to
// the empty string counts as not set, because compose files pass a variable that nobody set
// in this way. Env implements envconfig.EnvLookup.
type Env map[string]string

// Environ reads the environment of this process.
func Environ() Env {
	env := Env{}
	for _, pair := range os.Environ() {
		if name, value, ok := strings.Cut(pair, "="); ok && value != "" {
			env[name] = value
		}
	}
	return env
}

// LookupEnv returns the value of a variable, and reports whether the value is not empty.
func (e Env) LookupEnv(name string) (string, bool) {
	value := e[name]
	return value, value != ""
}

// Environ returns the variables as NAME=value, sorted by name.
func (e Env) Environ() []string {
	pairs := make([]string, 0, len(e))
	for _, name := range e.names() {
		pairs = append(pairs, name+"="+e[name])
	}
	return pairs
}

// names returns the names of the variables that are set. They are sorted, so that reports
// about them always have the same order.
func (e Env) names() []string {
	names := make([]string, 0, len(e))
	for _, name := range slices.Sorted(maps.Keys(e)) {
		if e[name] != "" {
			names = append(names, name)
		}
	}
	return names
}

// Hostname returns the name of this machine, for the identity of a process. It is "unknown" if
// the operating system does not say.
func Hostname() string {
	name, _ := os.Hostname() // empty if it fails
	return cmp.Or(name, "unknown")
}
