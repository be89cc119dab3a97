package ingest

import (
	"cmp"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"genesys-fanout/genesys"
	"genesys-fanout/ingest"
	"genesys-fanout/internal/process"
	"genesys-fanout/target"
)

// settings are the settings of ingest, from flags and environment variables.
type settings struct {
	process.Shared
	EagerStart string `env:"FANOUT_EAGER_START" default:"true" help:"true: ingest makes the first attempts, and needs every target's secrets and network path; false: worker makes them."`
	MaxStarts  string `env:"FANOUT_MAX_STARTS" default:"256" help:"Maximum number of starts in flight."`
	EventID    string `env:"FANOUT_EVENT_ID" default:"event.id" help:"CEL expression over event and payload that identifies an event. Two messages with one id are one event."`

	GenesysClientID         string         `env:"GENESYS_CLIENT_ID" placeholder:"ID" help:"OAuth client; required unless KAFKA_BOOTSTRAP_SERVERS is set."`
	GenesysClientSecret     process.Secret `kong:"-" env:"GENESYS_CLIENT_SECRET" help:"Secret of GENESYS_CLIENT_ID."`
	GenesysAPIURL           string         `env:"GENESYS_API_URL" default:"https://api.mypurecloud.com" help:"API host of your region."`
	GenesysTokenURL         string         `env:"GENESYS_TOKEN_URL" placeholder:"URL" help:"Where tokens are issued; by default the API host with api. replaced by login., path /oauth/token."`
	GenesysEventBridgePath  string         `env:"GENESYS_EVENTBRIDGE_PATH" default:"/api/v2/eventbridge" help:"Where the connection details are read."`
	GenesysOAuthScope       string         `env:"GENESYS_OAUTH_SCOPE" placeholder:"SCOPE" help:"Sent with the token request if set; Genesys Cloud decides by roles."`
	GenesysIntegrationCheck string         `env:"GENESYS_INTEGRATION_CHECK" default:"false" help:"true: --preflight also checks the integrations with Amazon EventBridge."`

	KafkaBootstrapServers string         `env:"KAFKA_BOOTSTRAP_SERVERS" placeholder:"HOST:PORT,…" help:"Brokers; if set, the Genesys API is not called."`
	KafkaSecurityProtocol string         `env:"KAFKA_SECURITY_PROTOCOL" default:"SASL_SSL" help:"SASL_SSL, SASL_PLAINTEXT, SSL or PLAINTEXT."`
	KafkaSASLMechanism    string         `env:"KAFKA_SASL_MECHANISM" placeholder:"NAME" help:"By default the Genesys API's, else SCRAM-SHA-512."`
	KafkaSASLUsername     string         `env:"KAFKA_SASL_USERNAME" placeholder:"NAME" help:"By default the Genesys API's."`
	KafkaSASLPassword     process.Secret `kong:"-" env:"KAFKA_SASL_PASSWORD" help:"By default the Genesys API's."`
	KafkaSSLCALocation    string         `env:"KAFKA_SSL_CA_LOCATION" placeholder:"FILE" help:"CA certificates; by default the system's."`
	KafkaTopic            string         `env:"KAFKA_TOPIC" placeholder:"NAME,…" help:"Topics; by default the Genesys API's, else genesys-cloud-interaction-events."`
	KafkaGroupID          string         `env:"KAFKA_GROUP_ID" default:"genesys-fanout-processor" help:"Consumer group."`
	KafkaAutoOffsetReset  string         `env:"KAFKA_AUTO_OFFSET_RESET" default:"earliest" help:"earliest or latest; latest loses messages that arrive before the first commit."`
	KafkaOptions          process.Secret `kong:"-" env:"KAFKA_OPTIONS" help:"Extra librdkafka settings, key=value,key=value; a comma within a value is written \\,."`
}

const (
	defaultMechanism = "SCRAM-SHA-512"
	defaultTopic     = "genesys-cloud-interaction-events"

	// maxStartsLimit bounds FANOUT_MAX_STARTS. More starts in flight would only wait in the
	// server.
	maxStartsLimit = 65_536
)

// checked are the settings that check parsed.
type checked struct {
	maxStarts int
	eventID   *target.EventID
	topics    []string
	extra     map[string]string
}

// check reports every invalid setting of ingest, and returns the parsed ones.
func (s *settings) check(problems *process.Problems) checked {
	problems.OneOf("FANOUT_EAGER_START", s.EagerStart, "true", "false")
	problems.OneOf("GENESYS_INTEGRATION_CHECK", s.GenesysIntegrationCheck, "true", "false")
	c := checked{
		maxStarts: problems.PositiveInt("FANOUT_MAX_STARTS", s.MaxStarts, maxStartsLimit),
		eventID:   s.checkEventID(problems),
		extra:     s.checkOptions(problems),
	}
	if s.KafkaTopic != "" {
		c.topics = problems.List("KAFKA_TOPIC", s.KafkaTopic)
	}
	problems.OneOf("KAFKA_SECURITY_PROTOCOL", s.KafkaSecurityProtocol, "SASL_SSL", "SASL_PLAINTEXT", "SSL", "PLAINTEXT")
	problems.OneOf("KAFKA_AUTO_OFFSET_RESET", s.KafkaAutoOffsetReset, "earliest", "latest")
	if s.KafkaSASLMechanism != "" {
		problems.OneOf("KAFKA_SASL_MECHANISM", s.KafkaSASLMechanism, "SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN", ingest.OAuthBearer)
	}
	if missing := ingest.CheckOAuthBearer(c.extra); s.oauthBearer() && missing != "" && !problems.Unread("KAFKA_OPTIONS") {
		problems.Add("KAFKA_OPTIONS", "has no "+missing+", which KAFKA_SASL_MECHANISM=OAUTHBEARER needs",
			"set sasl.oauthbearer.method=oidc, and sasl.oauthbearer.client.id, .client.secret and .token.endpoint.url, in KAFKA_OPTIONS or the file of KAFKA_OPTIONS_FILE")
	}
	if s.KafkaSSLCALocation != "" {
		if err := checkCA(s.KafkaSSLCALocation); err != nil {
			problems.Add("KAFKA_SSL_CA_LOCATION", err.Error(), "name a readable PEM file, or unset it to use the system's roots")
		}
	}
	if s.static() {
		s.checkStatic(problems)
	}
	switch {
	case !s.static():
		s.checkGenesys(problems, "set it, or set KAFKA_BOOTSTRAP_SERVERS if the brokers are known")
	case s.Preflight && s.integrations():
		s.checkGenesys(problems, "set it, because GENESYS_INTEGRATION_CHECK=true asks the Genesys API")
	}
	return c
}

// checkEventID compiles the expression of FANOUT_EVENT_ID.
func (s *settings) checkEventID(problems *process.Problems) *target.EventID {
	compiled, errs := target.ParseEventID(s.EventID)
	for _, err := range errs {
		problems.Add("FANOUT_EVENT_ID", err.Error(), `correct the CEL expression, whose result must be a string, such as event.id + "-" + event.type; `+
			"it may use event.id, .type, .interaction_id, .channel_type, .status and payload, and string(…) converts a member of payload to a string")
	}
	return compiled
}

// checkCA checks that librdkafka will find a certificate in the file.
func checkCA(path string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if !x509.NewCertPool().AppendCertsFromPEM(content) {
		return fmt.Errorf("%s contains no certificate", path)
	}
	return nil
}

// eager reports whether ingest makes the first attempts.
func (s *settings) eager() bool { return s.EagerStart != "false" }

// integrations reports whether a preflight asks the Genesys API for the integrations.
func (s *settings) integrations() bool { return s.GenesysIntegrationCheck == "true" }

// static reports whether the settings name the brokers, so that Genesys is not asked.
func (s *settings) static() bool { return s.KafkaBootstrapServers != "" }

func (s *settings) sasl() bool { return strings.HasPrefix(s.KafkaSecurityProtocol, "SASL_") }

// oauthBearer reports whether tokens replace user and password.
func (s *settings) oauthBearer() bool { return s.sasl() && s.KafkaSASLMechanism == ingest.OAuthBearer }

func (s *settings) checkStatic(problems *process.Problems) {
	problems.HostPorts("KAFKA_BOOTSTRAP_SERVERS", s.KafkaBootstrapServers)
	if s.sasl() && !s.oauthBearer() {
		const cure = "set it, because the Genesys API is not asked for it if KAFKA_BOOTSTRAP_SERVERS is set (or choose another KAFKA_SECURITY_PROTOCOL)"
		problems.Required("KAFKA_SASL_USERNAME", s.KafkaSASLUsername, cure)
		problems.Required("KAFKA_SASL_PASSWORD", s.KafkaSASLPassword.Reveal(), cure+"; KAFKA_SASL_PASSWORD_FILE names a file")
	}
}

func (s *settings) checkGenesys(problems *process.Problems, cure string) {
	problems.Required("GENESYS_CLIENT_ID", s.GenesysClientID, cure)
	problems.Required("GENESYS_CLIENT_SECRET", s.GenesysClientSecret.Reveal(), cure+"; GENESYS_CLIENT_SECRET_FILE names a file")
	problems.AddError(genesys.ValidateURL("GENESYS_API_URL", s.GenesysAPIURL))
	if s.GenesysTokenURL != "" {
		problems.AddError(genesys.ValidateURL("GENESYS_TOKEN_URL", s.GenesysTokenURL))
	}
	problems.AddError(genesys.ValidatePath(s.GenesysEventBridgePath))
}

func (s *settings) checkOptions(problems *process.Problems) map[string]string {
	extra, err := parseOptions(s.KafkaOptions.Reveal())
	if err != nil {
		problems.Add("KAFKA_OPTIONS", err.Error(), `write it as key=value,key=value, and a comma within a value as \,`)
		return nil
	}
	if err := ingest.CheckExtra(extra); err != nil {
		problems.Add("KAFKA_OPTIONS", err.Error(), "correct the setting or leave it out; librdkafka's CONFIGURATION.md lists all settings")
	}
	return extra
}

// escapedComma is a comma that belongs to a value, as in a client secret or in
// sasl.oauthbearer.extensions. Any other backslash is an ordinary character.
const escapedComma = `\,`

// parseOptions parses key=value,key=value. The error quotes no value, because a value may be
// a secret.
func parseOptions(text string) (map[string]string, error) {
	extra := make(map[string]string)
	if text == "" {
		return extra, nil
	}
	const comma = "\x00" // which cannot be part of an environment variable
	for i, pair := range strings.Split(strings.ReplaceAll(text, escapedComma, comma), ",") {
		name, value, ok := strings.Cut(strings.TrimSpace(pair), "=")
		if name = strings.TrimSpace(name); !ok || name == "" {
			return nil, fmt.Errorf("part %d of it is not key=value", i+1)
		}
		extra[name] = strings.ReplaceAll(value, comma, ",")
	}
	return extra, nil
}

// genesysOptions returns the settings of the Genesys API.
func (s *settings) genesysOptions(log *slog.Logger) genesys.Options {
	return genesys.Options{
		APIURL: s.GenesysAPIURL, TokenURL: s.GenesysTokenURL, EventBridgePath: s.GenesysEventBridgePath,
		ClientID: s.GenesysClientID, ClientSecret: s.GenesysClientSecret.Reveal(), Scope: s.GenesysOAuthScope,
		Logger: log,
	}
}

// connection returns how to connect to the brokers. A variable that is set overrides the
// Genesys API's answer, which overrides the default.
func (s *settings) connection(d genesys.ConnectionDetails, c checked) ingest.Connection {
	connection := ingest.Connection{
		BootstrapServers: cmp.Or(s.KafkaBootstrapServers, d.BootstrapServers),
		SecurityProtocol: s.KafkaSecurityProtocol,
		SASLMechanism:    cmp.Or(s.KafkaSASLMechanism, d.SASLMechanism, defaultMechanism),
		SASLUsername:     cmp.Or(s.KafkaSASLUsername, d.SASLUsername),
		SASLPassword:     cmp.Or(s.KafkaSASLPassword.Reveal(), d.SASLPassword),
		CALocation:       s.KafkaSSLCALocation,
		Topics:           c.topics,
		Extra:            c.extra,
	}
	if len(connection.Topics) == 0 {
		connection.Topics = d.Topics
	}
	if len(connection.Topics) == 0 {
		connection.Topics = []string{defaultTopic}
	}
	return connection
}
