package devstack

import (
	"fmt"
	"os"
	"path/filepath"
)

// TemporalCLI returns the absolute path of the Temporal CLI: $TEMPORAL_CLI, else
// .cache/bin/temporal of this module. If the file is missing, the error says how to build it.
func TemporalCLI() (string, error) {
	path := os.Getenv("TEMPORAL_CLI")
	if path == "" {
		return tool("temporal", "make tools")
	}
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("the Temporal CLI is missing (run: make tools): %w", err)
	}
	return filepath.Abs(path)
}

// tool returns the absolute path of a tool that this module pins. buildCommand is how to build the
// tool, for the error.
func tool(name, buildCommand string) (string, error) {
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	path := filepath.Join(root, ".cache", "bin", name)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%s is missing (run: %s): %w", name, buildCommand, err)
	}
	return path, nil
}

// moduleRoot returns the folder of the main module: the nearest folder, from the working directory
// upwards, that contains tools/go.mod. A go.mod alone does not identify it, because other modules
// lie below it.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for start := dir; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "tools", "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("no tools/go.mod in %s or above: run this from within the project", start)
		}
	}
}
