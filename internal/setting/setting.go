// Package setting reads secrets from environment variables and from files that environment
// variables name. It is the only reader of NAME and NAME_FILE, both for the settings of a
// process and for the ${NAME} of a targets file.
//
// The package does not know which settings exist, and no error of it contains a secret.
package setting

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
)

// Problem is one wrong setting.
type Problem struct {
	Variable string // the environment variable, or the flag if the setting has no variable
	What     string // what is wrong; never contains a secret
	Cure     string // what to do about it
}

// Error returns the line that the user reads.
func (p *Problem) Error() string { return p.Variable + ": " + p.What + "; " + p.Cure }

// Secret returns the value of the variable name, or the content of the file that the variable
// name_FILE names, without one line break at the end of the file. If neither variable is set,
// set is false. An empty variable counts as not set.
//
// The error is a *Problem. It says that both variables are set, or that the file cannot be
// read, is empty, or is larger than 1 MiB.
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
		return "", false, &Problem{file, fmt.Sprintf("names %q, which cannot be read: %s", path, Cause(err)), "name a file that this process can read"}
	case value == "":
		return "", false, &Problem{file, fmt.Sprintf("names %q, which is empty", path), "put the secret into it"}
	}
	return value, true, nil
}

// maxSecret is the largest secret, in bytes. net/http's servers accept that much of all headers
// together.
const maxSecret = 1 << 20

var errTooLong = errors.New("longer than 1 MiB")

// content returns the content of a file without the line break that editors write at its end.
func content(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close() //nolint:errcheck // nothing was written to the file
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

// Cause returns the text of a file error without the path, for messages that already name the
// path.
func Cause(err error) string {
	if pathError, ok := errors.AsType[*fs.PathError](err); ok {
		return pathError.Err.Error()
	}
	return err.Error()
}
