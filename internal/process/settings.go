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

// supported are the variables beginning with FANOUT_ that some process of this
// version reads; a process ignores those of another.
var supported = []string{
	"FANOUT_TARGETS", "FANOUT_TASK_QUEUE", "FANOUT_HTTP_ADDR", "FANOUT_LOG_LEVEL", "FANOUT_LOG_FORMAT",
	"FANOUT_DEAD_LETTERS", "FANOUT_EAGER_START", "FANOUT_MAX_STARTS", "FANOUT_EVENT_ID",
}

// unsupported are names that do nothing yet: silence would let a user believe
// in encryption, for one, that is not there.
var unsupported = []string{"FANOUT_PAYLOAD_KEYS", "FANOUT_PAYLOAD_KEYS_FILE"}

// Shared are the settings of every process. A process embeds it into its own
// struct of settings and hands that to Parse.
//
// A field with the tag env:"NAME" is a setting: the variable NAME and the flag
// that FlagOf names, with the tags help and default. A field of type Secret
// (tag it kong:"-" too) is read from NAME or NAME_FILE and has no flag. All others
// are strings that Problems' validators read, so that no wrong value hides another.
type Shared struct {
	Targets   string `env:"FANOUT_TARGETS" default:"targets.yaml" help:"Targets file, read at start."`
	TaskQueue string `env:"FANOUT_TASK_QUEUE" default:"genesys-fanout" help:"Workflow task queue; the queues of targets and dead letters follow from it."`
	HTTPAddr  string `env:"FANOUT_HTTP_ADDR" default:"${http_addr}" help:"Address of /metrics, /healthz and /readyz."`
	LogLevel  string `env:"FANOUT_LOG_LEVEL" default:"info" help:"debug, info, warn or error."`
	LogFormat string `env:"FANOUT_LOG_FORMAT" default:"text" help:"text or json."`

	Check     bool `help:"Validate every setting and file, print what would run and exit; connects to nothing."`
	Version   bool `help:"Print the version and exit."`
	Preflight bool `help:"Try every connection, print a line with the cure for each, and exit 0, or 1 where one failed; changes nothing."`
	JSON      bool `name:"json" help:"With --preflight: print an array of check, status, detail and cure."`
}

func (s *Shared) shared() *Shared { return s }

func (s *Shared) validate(p *Problems) {
	p.Required("FANOUT_TARGETS", s.Targets, "name the targets file")
	p.Required("FANOUT_TASK_QUEUE", s.TaskQueue, "name the task queue")
	p.HostPort("FANOUT_HTTP_ADDR", s.HTTPAddr, true)
	p.OneOf("FANOUT_LOG_LEVEL", s.LogLevel, logLevels...)
	p.OneOf("FANOUT_LOG_FORMAT", s.LogFormat, logFormats...)
	if s.JSON && !s.Preflight {
		p.Add("--json", "says how --preflight prints, which is not set", "add --preflight, or leave it out")
	}
	if s.Check && s.Preflight {
		p.Add("--check", "connects to nothing, and --preflight tries every connection", "choose one of the two; --preflight checks the settings first")
	}
}

// Settings is a pointer to a struct that embeds Shared.
type Settings interface{ shared() *Shared }

// App is what Parse must know of a process.
type App struct {
	Name        string // worker, ingest
	Description string // one sentence for --help
	HTTPAddr    string // the default of FANOUT_HTTP_ADDR
}

// Parse reads flags and environment into settings: a flag beats its variable,
// which beats the default. Where done is true, nothing is left to do but to
// return problems.Err(): --help or --version was printed to stdout, or the
// command line cannot be read. Otherwise the shared settings are checked, and
// the caller adds what is wrong with its own before it returns problems.Err().
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

// parse reads flags and environment into a struct of settings, and which of its
// commands was chosen, where it has any.
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

// FlagOf is the flag of a variable: its name in lower case with dashes, less FANOUT_.
func FlagOf(variable string) string {
	return strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(variable, "FANOUT_"), "_", "-"))
}

// newParser builds kong's parser with the environment taken out of kong's hands:
// kong reads the real environment, where a variable set to nothing would beat
// its default.
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
		return nil, nil // kong's word for "not set here"
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

// printEnvironmentOnly completes --help with what has no flag.
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

// checkNames refuses what begins with FANOUT_ and is no setting of this version,
// except for what Kubernetes sets by itself.
func checkNames(env Env, problems *Problems) {
	for _, name := range env.names() {
		switch {
		case !strings.HasPrefix(name, "FANOUT_") || slices.Contains(supported, name) || serviceLink.MatchString(name):
		case slices.Contains(unsupported, name):
			problems.Add(name, "is not supported by this version", "unset it")
		default:
			problems.Add(name, "is no setting", "correct the name or unset it; --help lists the settings")
		}
	}
}

func readSecrets(settings any, env Env, problems *Problems) {
	for _, field := range fieldsOf(settings) {
		if field.secret != nil {
			secret, err := env.Secret(field.variable)
			problems.AddError(err)
			*field.secret = secret
		}
	}
}

// field is one field of a struct of settings that stands for a variable.
type field struct {
	variable string
	help     string
	value    string
	secret   *Secret // nil for a setting that has a flag
}

// fieldsOf lists the settings in the order of their declaration.
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
