package probe

import (
	"maps"
	"slices"
	"strings"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"

	"genesys-fanout/ingest"
)

// Security says how librdkafka secures its connections to the brokers.
type Security struct {
	Protocol string // security.protocol, in upper case
	CA       string // ssl.ca.location; empty: the system's roots
	// Others are the names of further TLS settings, which come from KAFKA_OPTIONS: client
	// certificates, or a verification that is switched off.
	Others []string
}

// SecurityOf reads the security from the consumer's configuration.
func SecurityOf(connection ingest.Connection) Security {
	config := ingest.ConsumerConfig("", connection)
	s := Security{Protocol: strings.ToUpper(setting(config, "security.protocol")), CA: setting(config, "ssl.ca.location")}
	for _, name := range slices.Sorted(maps.Keys(connection.Extra)) {
		if (strings.HasPrefix(name, "ssl.") || strings.HasPrefix(name, "enable.ssl.")) && name != "ssl.ca.location" {
			s.Others = append(s.Others, name)
		}
	}
	return s
}

// SASL reports whether the brokers ask for credentials.
func (s Security) SASL() bool { return strings.HasPrefix(s.Protocol, "SASL_") }

// TLS reports whether the connections are encrypted.
func (s Security) TLS() bool { return strings.HasSuffix(s.Protocol, "SSL") }

func setting(config kafka.ConfigMap, name string) string {
	text, _ := config[name].(string)
	return text
}
