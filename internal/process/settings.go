package process

import (
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/alecthomas/kong"
)

// supported lists the variables that begin with FANOUT_ and that a process of this version
// reads, in Shared or in settings of its own. Each process ignores the variables of the others.
var supported = []string{
	"FANOUT_TARGETS", "FANOUT_TASK_QUEUE", "FANOUT_HTTP_ADDR", "FANOUT_LOG_LEVEL", "FANOUT_LOG_FORMAT",
	"FANOUT_DEAD_LETTERS", "FANOUT_EAGER_START", "FANOUT_MAX_STARTS", "FANOUT_EVENT_ID",
}

// unsupported lists variables that have no effect yet. If a process ignored them silently, a
// user could believe that payloads are encrypted, for example.
var unsupported = []string{"FANOUT_PAYLOAD_KEYS", "FANOUT_PAYLOAD_KEYS_FILE"}

// Shared are the settings of every process. A process embeds Shared into its own struct of
// settings, and passes a pointer to that struct to Parse.
//
// A field with the tag env:"NAME" is a setting. Its variable is NAME, FlagOf returns its flag,
// and the tags help and default describe it. A field of type Secret also needs the tag
// kong:"-"; Parse reads it from NAME or NAME_FILE, and it has no flag. Every other setting is
// a string that a validator of Problems parses later, so that one wrong value does not hide
// another.
//
// A new variable whose name begins with FANOUT_ must also be added to supported. Otherwise every
// process rejects it as a name that is not a setting.
type Shared struct {
	Targets   string `env:"FANOUT_TARGETS" default:"targets.yaml" help:"Targets file; it is read at the start."`
	TaskQueue string `env:"FANOUT_TASK_QUEUE" default:"genesys-fanout" help:"Task queue of workflows; the task queues of targets and of dead letters are named after it."`
	HTTPAddr  string `env:"FANOUT_HTTP_ADDR" default:"${http_addr}" help:"Address of /metrics, /healthz and /readyz."`
	LogLevel  string `env:"FANOUT_LOG_LEVEL" default:"info" help:"Log level: debug, info, warn or error."`
	LogFormat string `env:"FANOUT_LOG_FORMAT" default:"text" help:"Log format: text or json."`

	Check     bool `help:"Validate every setting and file, print the settings in effect and exit. Connects to nothing."`
	Version   bool `help:"Print the version and exit."`
	Preflight bool `help:"Try every connection, print one line with the result and the cure for each, and exit with 0, or with 1 if one failed. Changes nothing."`
	JSON      bool `name:"json" help:"With --preflight: print a JSON array of check, status, detail and cure."`
}

func (s *Shared) shared() *Shared { return s }

func (s *Shared) validate(p *Problems) {
	p.Required("FANOUT_TARGETS", s.Targets, "name the targets file")
	p.Required("FANOUT_TASK_QUEUE", s.TaskQueue, "name the task queue")
	p.HostPort("FANOUT_HTTP_ADDR", s.HTTPAddr, true)
	p.OneOf("FANOUT_LOG_LEVEL", s.LogLevel, logLevels...)
	p.OneOf("FANOUT_LOG_FORMAT", s.LogFormat, logFormats...)
	if s.JSON && !s.Preflight {
		p.Add("--json", "has an effect only with --preflight", "add --preflight, or remove --json")
	}
	if s.Check && s.Preflight {
		p.Add("--check", "cannot be combined with --preflight", "remove one of the two; --preflight validates the settings too")
	}
}

// Settings is a pointer to a struct that embeds Shared.
type Settings interface{ shared() *Shared }

// App describes a program to Parse.
type App struct {
	Name        string // worker, ingest
	Description string // one sentence for --help
	HTTPAddr    string // the default of FANOUT_HTTP_ADDR
}

// Parse reads flags and environment into settings. A flag overrides its variable, and a
// variable overrides the default.
//
// If done is true, the caller returns problems.Err() at once: Parse has printed --help or
// --version to stdout, or cannot parse the command line. Otherwise Parse has validated the
// shared settings. The caller then adds the problems of its own settings, and returns
// problems.Err() if it is not nil.
func Parse(app App, settings Settings, args []string, env Env, stdout io.Writer) (done bool, problems *Problems) {
	_, done, problems = parse(app, settings, args, env, stdout)
	if done {
		return true, problems
	}
	shared := settings.shared()
	if shared.Version {
		_, _ = fmt.Fprintln(stdout, versionLine(app.Name))
		return true, &Problems{}
	}
	readSecrets(settings, env, problems)
	shared.validate(problems)
	return false, problems
}

// parse reads flags and environment into a struct of settings. It returns the name of the
// command that the user chose, or an empty string if the struct has no commands.
func parse(app App, settings any, args []string, env Env, stdout io.Writer) (command string, done bool, problems *Problems) {
	problems = &Problems{}
	helped := false
	parser, err := newParser(app, settings, env, stdout, func(int) { helped = true })
	if err != nil {
		problems.AddError(fmt.Errorf("%s: %w", app.Name, err))
		return "", true, problems
	}
	parsed, err := parser.Parse(args)
	if helped {
		return "", true, problems
	}
	checkNames(env, problems)
	if err != nil {
		problems.Add(app.Name, err.Error(), "see --help")
		return "", true, problems
	}
	if selected := parsed.Selected(); selected != nil {
		command = selected.Name
	}
	return command, false, problems
}

// FlagOf returns the flag of a variable: the name without FANOUT_, in lower case, with dashes.
func FlagOf(variable string) string {
	return strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(variable, "FANOUT_"), "_", "-"))
}

// newParser returns a kong parser that reads variables from env only. kong's own reader of
// the environment is switched off, because for kong an empty variable overrides the default.
func newParser(app App, settings any, env Env, stdout io.Writer, exit func(int)) (*kong.Kong, error) {
	variables := map[*kong.Value]string{}
	adopt := func(k *kong.Kong) error {
		for _, flag := range k.Model.Flags {
			if len(flag.Envs) > 0 {
				variables[flag.Value] = flag.Envs[0]
				flag.Name = FlagOf(flag.Envs[0])
				flag.Envs, flag.Tag.Envs = nil, nil
			}
		}
		return nil
	}
	resolve := func(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
		if value, ok := env.LookupEnv(variables[flag.Value]); ok {
			return value, nil
		}
		return nil, nil // for kong: this resolver does not set the flag
	}
	describe := func(value *kong.Value) string {
		if variable := variables[value]; variable != "" {
			return strings.TrimSuffix(value.Help, ".") + " (" + variable + ")."
		}
		return value.Help
	}
	help := func(options kong.HelpOptions, ctx *kong.Context) error {
		if err := kong.DefaultHelpPrinter(options, ctx); err != nil {
			return err
		}
		return printEnvironmentOnly(ctx.Stdout, settings)
	}
	return kong.New(settings,
		kong.Name(app.Name),
		kong.Description(app.Description),
		kong.Vars{"http_addr": app.HTTPAddr, "version": versionLine(app.Name)},
		kong.Writers(stdout, io.Discard),
		kong.Exit(exit),
		kong.PostBuild(adopt),
		kong.Resolvers(kong.ResolverFunc(resolve)),
		kong.ValueFormatter(describe),
		kong.Help(help),
	)
}

// printEnvironmentOnly prints the part of --help about settings that have no flag.
func printEnvironmentOnly(w io.Writer, settings any) error {
	table := tabwriter.NewWriter(w, 0, 0, 4, ' ', 0)
	_, _ = fmt.Fprintln(table, "\nEnvironment only:")
	for _, field := range fieldsOf(settings) {
		if field.secret != nil {
			_, _ = fmt.Fprintf(table, "  %s\t%s (or %s_FILE, a path to read it from).\n",
				field.variable, strings.TrimSuffix(field.help, "."), field.variable)
		}
	}
	for _, row := range temporalHelp {
		_, _ = fmt.Fprintf(table, "  %s\t%s\n", row.Name, row.Value)
	}
	return table.Flush()
}

// checkNames adds a problem for each variable that begins with FANOUT_ and is not a setting
// of this version. It ignores the variables that Kubernetes sets.
func checkNames(env Env, problems *Problems) {
	for _, name := range env.names() {
		switch {
		case !strings.HasPrefix(name, "FANOUT_") || slices.Contains(supported, name) || serviceLink.MatchString(name):
		case slices.Contains(unsupported, name):
			problems.Add(name, "is not supported by this version", "unset it")
		default:
			problems.Add(name, "is not a setting", "correct the name or unset it; --help lists the settings")
		}
	}
}

func readSecrets(settings any, env Env, problems *Problems) {
	for _, field := range fieldsOf(settings) {
		if field.secret != nil {
			secret, err := env.Secret(field.variable)
			if err != nil {
				problems.addUnread(field.variable, err)
			}
			*field.secret = secret
		}
	}
}

// field is one setting in a struct of settings.
type field struct {
	variable string
	help     string
	value    string
	secret   *Secret // nil for a setting that has a flag
}

// fieldsOf returns the settings in the order in which the struct declares them.
func fieldsOf(settings any) []field {
	var fields []field
	var walk func(reflect.Value)
	walk = func(value reflect.Value) {
		for i := range value.NumField() {
			declared, current := value.Type().Field(i), value.Field(i)
			variable, isSetting := declared.Tag.Lookup("env")
			switch {
			case isSetting:
				f := field{variable: variable, help: declared.Tag.Get("help")}
				if f.secret, isSetting = reflect.TypeAssert[*Secret](current.Addr()); !isSetting {
					f.value = fmt.Sprint(current.Interface())
				}
				fields = append(fields, f)
			case declared.Anonymous && current.Kind() == reflect.Struct:
				walk(current)
			}
		}
	}
	walk(reflect.ValueOf(settings).Elem())
	return fields
}
