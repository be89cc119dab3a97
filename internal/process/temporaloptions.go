package process

import (
	"cmp"
	"maps"
	"os"
	"strconv"
	"strings"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/envconfig"

	"genesys-fanout/internal/setting"
)

// temporalHelp is the part of --help about Temporal's standard settings.
var temporalHelp = []Setting{
	{"TEMPORAL_ADDRESS", "Temporal's host:port (default " + client.DefaultHostPort + ")."},
	{"TEMPORAL_NAMESPACE", "Namespace (default " + client.DefaultNamespace + ")."},
	{"TEMPORAL_API_KEY", "API key; switches TLS on (or TEMPORAL_API_KEY_FILE, a path to read it from)."},
	{"TEMPORAL_TLS", "true or false. Certificates by TEMPORAL_TLS_CLIENT_CERT_PATH, _CLIENT_KEY_PATH, _SERVER_CA_CERT_PATH, _SERVER_NAME."},
	{"TEMPORAL_CONFIG_FILE", "File of connection profiles; TEMPORAL_PROFILE chooses one of them (default \"default\")."},
}

// TemporalConfig says how to connect to Temporal.
type TemporalConfig struct {
	Options client.Options // HostPort and Namespace are never empty

	settings []Setting
}

// Settings returns the settings of the connection as --check prints them, without secrets.
func (t TemporalConfig) Settings() []Setting { return t.settings }

// ParseTemporal reads the standard settings of go.temporal.io/sdk/contrib/envconfig, and also
// TEMPORAL_API_KEY_FILE. It adds every wrong setting to problems. It connects to nothing.
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
	// gRPC also accepts the URL of a resolver, such as dns:///host:port.
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

// checkBooleans checks the values of boolean settings, because envconfig ignores a value that
// it does not know: with TEMPORAL_TLS=yes it would connect without TLS.
func checkBooleans(env Env, problems *Problems) {
	for _, name := range []string{"TEMPORAL_TLS", "TEMPORAL_TLS_DISABLE_HOST_VERIFICATION"} {
		if value, ok := env.LookupEnv(name); ok {
			problems.OneOf(name, strings.ToLower(value), "true", "false", "1", "0")
		}
	}
}

// withAPIKey returns env with TEMPORAL_API_KEY set to the content of TEMPORAL_API_KEY_FILE if
// that is set, because envconfig does not know the latter.
func withAPIKey(env Env, problems *Problems) Env {
	key, err := env.Secret("TEMPORAL_API_KEY")
	problems.AddError(err)
	extended := Env{}
	maps.Copy(extended, env)
	extended["TEMPORAL_API_KEY"] = key.Reveal()
	return extended
}

// checkAPIKey checks that gRPC can send the key as a header. Otherwise each call would fail
// with a code that reads like a failure of the server.
func checkAPIKey(key string, problems *Problems) {
	for _, char := range []byte(key) {
		if char < 0x20 || char > 0x7e {
			problems.Add("TEMPORAL_API_KEY", "contains a line break or a character that is not ASCII", "copy the key again")
			return
		}
	}
}

// loadProfile reads the file of profiles and the variables in two steps, because the errors of
// envconfig do not say which setting is wrong.
func loadProfile(env Env, problems *Problems) (envconfig.ClientConfigProfile, bool) {
	none := envconfig.ClientConfigProfile{}
	if path, ok := env.LookupEnv("TEMPORAL_CONFIG_FILE"); ok {
		// envconfig treats a missing file like an empty one.
		if _, err := os.Stat(path); err != nil {
			problems.Add("TEMPORAL_CONFIG_FILE", "cannot read "+path+": "+setting.Cause(err), "name a file that this process can read")
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

// checkFiles adds a problem for each certificate file that cannot be read.
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
			problems.Add(file.Name, "cannot read "+file.Value+": "+setting.Cause(err), "name a file that this process can read")
		}
	}
}
