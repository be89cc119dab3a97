package process

import (
	"io"
	"net/url"
	"strconv"

	"github.com/alecthomas/kong"
)

// Commands are the settings of every program that people run by hand and that has commands
// of its own. Such a program embeds Commands into its struct of settings. The comment of
// Shared describes the fields of the struct; a field with the tag cmd is a command.
type Commands struct {
	Version kong.VersionFlag `help:"Print the version and exit."`
}

func (*Commands) commands() {}

// CommandSettings is a pointer to a struct that embeds Commands.
type CommandSettings interface{ commands() }

// ParseCommand reads flags and environment into settings, and returns the name of the
// command that the user chose. If done is true, the caller returns problems.Err() at once, as
// with Parse. Otherwise it checks the settings that its command needs.
func ParseCommand(app App, settings CommandSettings, args []string, env Env, stdout io.Writer) (command string, done bool, problems *Problems) {
	command, done, problems = parse(app, settings, args, env, stdout)
	if !done {
		readSecrets(settings, env, problems)
	}
	return command, done, problems
}

// WebURL parses an absolute http or https URL. Its problem does not quote the URL, because
// the URL may contain a password.
func (p *Problems) WebURL(variable, value string) *url.URL {
	parsed, err := url.Parse(value)
	if err != nil || (parsed.Scheme != "http" && parsed.Scheme != "https") || parsed.Hostname() == "" {
		p.Add(variable, "is not an absolute http or https URL", "write http://host:port or https://host")
		return &url.URL{}
	}
	return parsed
}

// Argument adds a problem with an argument or a flag of a command.
func (p *Problems) Argument(name, value, cure string) {
	p.Add(name, strconv.Quote(value)+" cannot be read", cure)
}
