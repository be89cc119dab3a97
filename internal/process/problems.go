package process

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
)

// Problem is one wrong setting.
type Problem struct {
	Variable string // the environment variable, or the flag where there is no variable
	What     string // what is wrong; never a secret
	Cure     string // what the user does about it
}

// Error is the line that the user reads.
func (p Problem) Error() string { return p.Variable + ": " + p.What + "; " + p.Cure }

// Problems collects everything that is wrong with the settings and the files
// they name, so that the user reads all of it at once. Its validators return a
// value only for the caller's convenience: where they added a problem, the
// process does not start.
type Problems struct{ list []error }

// Add notes a wrong setting.
func (p *Problems) Add(variable, what, cure string) { p.AddError(Problem{variable, what, cure}) }

// AddError notes an error that says by itself what is wrong and what cures it,
// one problem per line; nil is none.
func (p *Problems) AddError(err error) {
	if err != nil {
		p.list = append(p.list, err)
	}
}

// Err is nil without problems, and else the *ExitError that ends the process
// with ExitUsage and prints one line per problem.
func (p *Problems) Err() error {
	if len(p.list) == 0 {
		return nil
	}
	return &ExitError{Code: ExitUsage, Err: errors.Join(p.list...)}
}

// Required refuses an empty value.
func (p *Problems) Required(variable, value, cure string) bool {
	if value == "" {
		p.Add(variable, "is not set", cure)
	}
	return value != ""
}

// OneOf refuses a value that is not among the allowed ones.
func (p *Problems) OneOf(variable, value string, allowed ...string) string {
	if !slices.Contains(allowed, value) {
		p.Add(variable, strconv.Quote(value)+" is not known", "choose one of "+strings.Join(allowed, ", "))
	}
	return value
}

// PositiveInt reads a whole number from 1 to limit.
func (p *Problems) PositiveInt(variable, value string, limit int) int {
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 || n > limit {
		p.Add(variable, strconv.Quote(value)+" is no whole number in range", fmt.Sprintf("choose one from 1 to %d", limit))
		return 0
	}
	return n
}

// List reads items separated by commas; blanks around an item do not count, an
// item without content is refused.
func (p *Problems) List(variable, value string) []string {
	items := strings.Split(value, ",")
	for i := range items {
		items[i] = strings.TrimSpace(items[i])
	}
	if slices.Contains(items, "") {
		p.Add(variable, strconv.Quote(value)+" has an empty item", "separate the items with single commas")
		return nil
	}
	return items
}

// HostPort reads host:port. The host may be empty only where anyHost says that
// this means every interface.
func (p *Problems) HostPort(variable, value string, anyHost bool) string {
	if !isHostPort(value, anyHost) {
		p.Add(variable, strconv.Quote(value)+" is no address", "write host:port, the port from 0 to 65535")
	}
	return value
}

// HostPorts reads a list of host:port separated by commas.
func (p *Problems) HostPorts(variable, value string) []string {
	items := p.List(variable, value)
	for _, item := range items {
		p.HostPort(variable, item, false)
	}
	return items
}

func isHostPort(value string, anyHost bool) bool {
	host, port, err := net.SplitHostPort(value)
	if err != nil || (host == "" && !anyHost) || strings.ContainsAny(host, " /\t\r\n") {
		return false
	}
	_, err = strconv.ParseUint(port, 10, 16)
	return err == nil
}
