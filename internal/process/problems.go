package process

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"genesys-fanout/internal/setting"
)

// Problem is one wrong setting.
type Problem = setting.Problem

// Problems collects everything that is wrong with the settings and with the files that they
// name, so that the user sees all problems at once.
//
// Its validators add a problem if the value is not valid. They return the value for the
// caller's convenience. After a problem the returned value does not matter, because the
// process does not start.
type Problems struct {
	list   []error
	unread []string // the secrets that could not be read
}

// Add adds a wrong setting.
func (p *Problems) Add(variable, what, cure string) {
	p.AddError(&Problem{Variable: variable, What: what, Cure: cure})
}

// AddError adds an error whose text names the problem and the cure, one problem per line. It
// ignores nil.
func (p *Problems) AddError(err error) {
	if err != nil {
		p.list = append(p.list, err)
	}
}

// Err returns nil if there is no problem. Otherwise it returns an *ExitError with the status
// ExitUsage, whose text has one line for each problem.
func (p *Problems) Err() error {
	if len(p.list) == 0 {
		return nil
	}
	return &ExitError{Code: ExitUsage, Err: errors.Join(p.list...)}
}

func (p *Problems) invalid(variable, value, cure string) {
	p.Add(variable, strconv.Quote(value)+" is not valid", cure)
}

// addUnread adds the error of a secret that could not be read.
func (p *Problems) addUnread(variable string, err error) {
	p.AddError(err)
	p.unread = append(p.unread, variable)
}

// Unread reports whether a secret is set and could not be read. Its value is then empty, and
// its problem has been added already.
func (p *Problems) Unread(variable string) bool { return slices.Contains(p.unread, variable) }

// Required checks that the value is not empty, and reports whether it is valid. It adds no
// second problem for a secret that could not be read.
func (p *Problems) Required(variable, value, cure string) bool {
	if value == "" && !p.Unread(variable) {
		p.Add(variable, "is not set", cure)
	}
	return value != ""
}

// OneOf checks that the value is one of the allowed ones.
func (p *Problems) OneOf(variable, value string, allowed ...string) string {
	if !slices.Contains(allowed, value) {
		p.invalid(variable, value, "it must be one of "+strings.Join(allowed, ", "))
	}
	return value
}

// PositiveInt parses a whole number from 1 to limit.
func (p *Problems) PositiveInt(variable, value string, limit int) int {
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 || n > limit {
		p.invalid(variable, value, fmt.Sprintf("it must be a whole number from 1 to %d", limit))
		return 0
	}
	return n
}

// List splits a list at its commas, and removes the blanks around each item. It checks that no
// item is empty.
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

// HostPort checks that the value is host:port. If anyHost is true, the host may be empty and
// means every interface.
func (p *Problems) HostPort(variable, value string, anyHost bool) string {
	if !isHostPort(value, anyHost) {
		p.invalid(variable, value, "it must be host:port with a port from 0 to 65535")
	}
	return value
}

// HostPorts splits a list at its commas, and checks that each item is host:port.
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
