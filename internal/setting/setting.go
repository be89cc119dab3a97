// Package setting reads values that are secrets: from the environment, or from a
// file that the environment names. It is the one reader of NAME and NAME_FILE, for
// the settings of a process as for the ${NAME} of a targets file.
package setting

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
)

// Problem is a variable that is set wrongly.
type Problem struct {
	Variable string
	What     string // what is wrong; never a secret
	Cure     string // what the user does about it
}

// Error is the line that the user reads.
func (p *Problem) Error() string { return p.Variable + ": " + p.What + "; " + p.Cure }

// Secret returns the value of the variable name, as it is, or the content of the
// file that the variable name_FILE names, less one line break at its end. If
// neither variable is set, set is false; an empty variable counts as not set.
// The error is a *Problem: both are set, or the file cannot be read, is empty, or
// is larger than 1 MiB.
func Secret(name string, lookupEnv func(string) (string, bool)) (value string, set bool, err error) {
	value, _ = lookupEnv(name)
	file := name + "_FILE"
	path, _ := lookupEnv(file)
	switch {
	case value != "" && path != "":
		return "", false, &Problem{name, "is set, and so is " + file, "set one of the two"}
	case path == "":
		return value, value != "", nil
	}
	value, err = content(path)
	switch {
	case err != nil:
		return "", false, &Problem{file, fmt.Sprintf("names %q, which cannot be read: %s", path, Cause(err)), "name a file that this process may read"}
	case value == "":
		return "", false, &Problem{file, fmt.Sprintf("names %q, which is empty", path), "put the secret into it"}
	}
	return value, true, nil
}

// maxSecret is the most that net/http's servers accept of all headers together.
const maxSecret = 1 << 20

var errTooLong = errors.New("longer than 1 MiB")

// content reads a file without the line break that editors put at its end.
func content(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close() //nolint:errcheck // it was only read
	data, err := io.ReadAll(io.LimitReader(file, maxSecret+1))
	if err != nil {
		return "", err
	}
	if len(data) > maxSecret {
		return "", errTooLong
	}
	value, ended := strings.CutSuffix(string(data), "\n")
	if ended {
		value = strings.TrimSuffix(value, "\r")
	}
	return value, nil
}

// Cause returns the part of a file error that does not repeat the path, for
// messages that name the path already.
func Cause(err error) string {
	if pathError, ok := errors.AsType[*fs.PathError](err); ok {
		return pathError.Err.Error()
	}
	return err.Error()
}
