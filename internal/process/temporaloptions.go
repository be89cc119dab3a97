package process

import (
	"cmp"
	"os"
	"strconv"
	"strings"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/envconfig"

	"genesys-fanout/internal/setting"
)

// temporalHelp is the part of --help on Temporal's standard settings.
var temporalHelp = []Setting{
	{"TEMPORAL_ADDRESS", "Temporal's host:port (default " + client.DefaultHostPort + ")."},
	{"TEMPORAL_NAMESPACE", "Namespace (default " + client.DefaultNamespace + ")."},
	{"TEMPORAL_API_KEY", "API key; turns TLS on (or TEMPORAL_API_KEY_FILE, a path to read it from)."},
	{"TEMPORAL_TLS", "true or false. Certificates by TEMPORAL_TLS_CLIENT_CERT_PATH, _CLIENT_KEY_PATH, _SERVER_CA_CERT_PATH, _SERVER_NAME."},
	{"TEMPORAL_CONFIG_FILE", "File of connection profiles, of which TEMPORAL_PROFILE chooses one (default \"default\")."},
}

// TemporalConfig is how to reach TemporalConfig, as its standard settings say.
type TemporalConfig struct {
	Options client.Options // HostPort and Namespace are filled in

	settings []Setting
}

// Settings lists what --check prints of the connection, without secrets.
func (t TemporalConfig) Settings() []Setting { return t.settings }

// ParseTemporal reads the standard settings of
// go.temporal.io/sdk/contrib/envconfig and, beyond them, TEMPORAL_API_KEY_FILE.
// It adds what is wrong with them to problems and connects to nothing.
func ParseTemporal(env Env, problems *Problems) TemporalConfig {
	before := len(problems.list)
	checkBooleans(env, problems)
	env = withAPIKey(env, problems)
	profile, ok := loadProfile(env, problems)
	if !ok {
		return TemporalConfig{}
	}
	profile.Address = cmp.Or(profile.Address, client.DefaultHostPort)
	profile.Namespace = cmp.Or(profile.Namespace, client.DefaultNamespace)
	// gRPC takes a resolver's URL as well, such as dns:///host:port.
	if !strings.Contains(profile.Address, "/") {
		problems.HostPort("TEMPORAL_ADDRESS", profile.Address, false)
	}
	checkAPIKey(profile.APIKey, problems)
	checkFiles(profile.TLS, problems)
	if len(problems.list) > before {
		return TemporalConfig{}
	}
	options, err := profile.ToClientOptions(envconfig.ToClientOptionsRequest{})
	if err != nil {
		problems.Add("TEMPORAL_TLS_*", err.Error(), "correct the certificate and key settings")
		return TemporalConfig{}
	}
	return TemporalConfig{Options: options, settings: []Setting{
		{"TEMPORAL_ADDRESS", options.HostPort},
		{"TEMPORAL_NAMESPACE", options.Namespace},
		{"TEMPORAL_API_KEY", presence(profile.APIKey != "")},
		{"TEMPORAL_TLS", strconv.FormatBool(options.ConnectionOptions.TLS != nil)},
	}}
}

// checkBooleans refuses what envconfig would ignore: TEMPORAL_TLS=yes would
// connect without TLS.
func checkBooleans(env Env, problems *Problems) {
	for _, name := range []string{"TEMPORAL_TLS", "TEMPORAL_TLS_DISABLE_HOST_VERIFICATION"} {
		if value, ok := env.LookupEnv(name); ok {
			problems.OneOf(name, strings.ToLower(value), "true", "false", "1", "0")
		}
	}
}

// withAPIKey adds the content of TEMPORAL_API_KEY_FILE, which envconfig does not know.
func withAPIKey(env Env, problems *Problems) Env {
	key, err := env.Secret("TEMPORAL_API_KEY")
	problems.AddError(err)
	extended := Env{}
	for _, name := range env.names() {
		extended[name] = env[name]
	}
	extended["TEMPORAL_API_KEY"] = key.Reveal()
	return extended
}

// checkAPIKey refuses what gRPC cannot send as a header: each call would fail
// with a code that reads like a server in trouble.
func checkAPIKey(key string, problems *Problems) {
	for _, char := range []byte(key) {
		if char < 0x20 || char > 0x7e {
			problems.Add("TEMPORAL_API_KEY", "holds a line break or a character that is not ASCII", "copy the key again")
			return
		}
	}
}

// loadProfile reads the file of profiles and the variables in two steps, as
// envconfig's errors do not tell which setting is to blame.
func loadProfile(env Env, problems *Problems) (envconfig.ClientConfigProfile, bool) {
	none := envconfig.ClientConfigProfile{}
	if path, ok := env.LookupEnv("TEMPORAL_CONFIG_FILE"); ok {
		// envconfig takes a missing file for an empty one.
		if _, err := os.Stat(path); err != nil {
			problems.Add("TEMPORAL_CONFIG_FILE", "cannot read "+path+": "+setting.Cause(err), "name a file that this process may read")
			return none, false
		}
	}
	if _, err := envconfig.LoadClientConfig(envconfig.LoadClientConfigOptions{EnvLookup: env}); err != nil {
		problems.Add("TEMPORAL_CONFIG_FILE", err.Error(), "correct the file")
		return none, false
	}
	profile, err := envconfig.LoadClientConfigProfile(envconfig.LoadClientConfigProfileOptions{EnvLookup: env})
	if err != nil {
		problems.Add("TEMPORAL_PROFILE", err.Error(), "choose a profile of the config file")
		return none, false
	}
	return profile, true
}

// checkFiles names the variable of each certificate file that cannot be read.
func checkFiles(tls *envconfig.ClientConfigTLS, problems *Problems) {
	if tls == nil || tls.Disabled {
		return
	}
	for _, file := range []Setting{
		{"TEMPORAL_TLS_CLIENT_CERT_PATH", tls.ClientCertPath},
		{"TEMPORAL_TLS_CLIENT_KEY_PATH", tls.ClientKeyPath},
		{"TEMPORAL_TLS_SERVER_CA_CERT_PATH", tls.ServerCACertPath},
	} {
		if file.Value == "" {
			continue
		}
		if _, err := os.ReadFile(file.Value); err != nil {
			problems.Add(file.Name, "cannot read "+file.Value+": "+setting.Cause(err), "name a file that this process may read")
		}
	}
}
