package process

import (
	"maps"
	"os"
	"slices"
	"strings"
)

// Env is a process environment without its empty variables: a variable set to
// the empty string counts as unset, because that is how compose files pass one
// that nobody set. It implements envconfig.EnvLookup.
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

// LookupEnv returns the value of a variable and whether it is set to more than
// the empty string.
func (e Env) LookupEnv(name string) (string, bool) {
	value := e[name]
	return value, value != ""
}

// Environ lists the variables as NAME=value, by name.
func (e Env) Environ() []string {
	pairs := make([]string, 0, len(e))
	for _, name := range e.names() {
		pairs = append(pairs, name+"="+e[name])
	}
	return pairs
}

// names lists the variables that are set, sorted, so that whatever is reported
// about them comes in the same order every time.
func (e Env) names() []string {
	names := make([]string, 0, len(e))
	for _, name := range slices.Sorted(maps.Keys(e)) {
		if e[name] != "" {
			names = append(names, name)
		}
	}
	return names
}
