package ingest

import (
	"errors"
	"slices"
	"strings"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"

	"genesys-fanout/internal/redact"
)

// Connection says how to connect to the brokers.
type Connection struct {
	BootstrapServers string
	SecurityProtocol string
	SASLMechanism    string
	SASLUsername     string // not used by OAUTHBEARER
	SASLPassword     string // not used by OAUTHBEARER
	CALocation       string // empty: the system's roots
	Topics           []string
	// Extra are librdkafka settings that override ours. They may include secrets.
	Extra map[string]string
}

// OAuthBearer is the SASL mechanism for which librdkafka gets tokens from an OpenID
// Connect provider. Connection.Extra names the provider and the client.
const OAuthBearer = "OAUTHBEARER"

// secretSettings are the endings of the names of librdkafka settings whose values are
// secrets. librdkafka's configuration table marks those as sensitive.
var secretSettings = []string{"password", "passphrase", "secret", "ssl.key.pem", "private.key.pem", "sasl.oauthbearer.config"}

// redactor returns the Redactor for texts of librdkafka, which may quote its settings.
func (c Connection) redactor() redact.Redactor {
	secrets := []string{c.SASLPassword}
	for name, value := range c.Extra {
		if slices.ContainsFunc(secretSettings, func(ending string) bool { return strings.HasSuffix(name, ending) }) {
			secrets = append(secrets, value)
		}
	}
	return redact.New(secrets...)
}

// RedactError returns the error without the secrets of the connection. A kafka.Error keeps
// its code.
func (c Connection) RedactError(err error) error {
	e, ok := errors.AsType[kafka.Error](err)
	if !ok {
		return err
	}
	text := e.String()
	if redacted := c.redactor().String(text); redacted != text {
		return kafka.NewError(e.Code(), redacted, e.IsFatal())
	}
	return err
}
