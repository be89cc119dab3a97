package process

import (
	"io"
	"net/url"
	"strconv"

	"github.com/alecthomas/kong"
)

// Commands are the settings of a program that people run by hand, with commands
// of its own. It embeds this into its struct of settings, whose fields are as
// those of Shared describe; a command is a field with the tag cmd.
type Commands struct {
	Version kong.VersionFlag `help:"Print the version and exit."`
}

func (*Commands) commands() {}

// CommandSettings is a pointer to a struct that embeds Commands.
type CommandSettings interface{ commands() }

// ParseCommand reads flags and environment into settings, and returns the name
// of the command that was chosen. Where done is true, nothing is left to do but
// to return problems.Err(), as with Parse; otherwise the caller checks the
// settings that its command needs.
func ParseCommand(app App, settings CommandSettings, args []string, env Env, stdout io.Writer) (command string, done bool, problems *Problems) {
	command, done, problems = parse(app, settings, args, env, stdout)
	if !done {
		readSecrets(settings, env, problems)
	}
	return command, done, problems
}

// WebURL reads an absolute http or https URL that people may open. It is never
// printed back: it may hold a password.
func (p *Problems) WebURL(variable, value string) *url.URL {
	parsed, err := url.Parse(value)
	if err != nil || (parsed.Scheme != "http" && parsed.Scheme != "https") || parsed.Hostname() == "" {
		p.Add(variable, "is no absolute URL", "write http://host:port or https://host")
		return &url.URL{}
	}
	return parsed
}

// Argument notes a wrong argument or flag of a command.
func (p *Problems) Argument(name, value, cure string) {
	p.Add(name, strconv.Quote(value)+" cannot be read", cure)
}
