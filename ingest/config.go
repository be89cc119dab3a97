package ingest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
)

// Connection is how the brokers are reached.
type Connection struct {
	BootstrapServers string
	SecurityProtocol string
	SASLMechanism    string
	SASLUsername     string // not used by OAUTHBEARER
	SASLPassword     string // not used by OAUTHBEARER
	CALocation       string // empty: the system's roots
	Topics           []string
	// Extra are librdkafka settings that beat ours. They may hold secrets.
	Extra map[string]string
}

// OAuthBearer is the SASL mechanism whose tokens librdkafka gets from an OpenID
// Connect provider; the provider and the client are in Connection.Extra.
const OAuthBearer = "OAUTHBEARER"

// The librdkafka settings that more than one place names.
const (
	statisticsSetting = "statistics.interval.ms"
	protocolSetting   = "group.protocol"
	resetSetting      = "auto.offset.reset"
	methodSetting     = "sasl.oauthbearer.method"
)

// refusedSettings are the librdkafka settings, by their beginning, that
// KAFKA_OPTIONS may not hold, each with the reason. auto.commit.enable and
// metadata.broker.list are librdkafka's other names of two of them.
var refusedSettings = []struct{ prefix, reason string }{
	{"enable.auto.", "ingest commits by itself"},
	{"auto.commit.enable", "ingest commits by itself"},
	{"enable.partition.eof", "ingest commits by it"},
	{resetSetting, "KAFKA_AUTO_OFFSET_RESET decides it"},
	{"group.id", "KAFKA_GROUP_ID decides it"},
	{"bootstrap.servers", "KAFKA_BOOTSTRAP_SERVERS decides it"},
	{"metadata.broker.list", "KAFKA_BOOTSTRAP_SERVERS decides it"},
	{"go.", "it changes what the consumer returns to ingest"},
}

// CheckExtra returns what is wrong with extra librdkafka settings, nil when
// nothing is. It connects to nothing. The error holds no secret.
func CheckExtra(extra map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(extra)) {
		for _, refused := range refusedSettings {
			if strings.HasPrefix(name, refused.prefix) {
				return fmt.Errorf("%s may not be set here, because %s", name, refused.reason)
			}
		}
	}
	if interval, ok := extra[statisticsSetting]; ok {
		// Readiness comes from the statistics and must be true within 20 s.
		if n, err := strconv.Atoi(interval); err != nil || n < 1 || n > 10_000 {
			return fmt.Errorf("%s is %q, and /readyz needs 1 to 10000", statisticsSetting, interval)
		}
	}
	// The protocol "consumer" rebalances in another way, for which commits on
	// revocation were not built. librdkafka would refuse it over our
	// session.timeout.ms, which is not what is wrong.
	if protocol, ok := extra[protocolSetting]; ok && !strings.EqualFold(strings.TrimSpace(protocol), "classic") {
		return fmt.Errorf("%s is %q, and ingest is built on the rebalances of classic", protocolSetting, protocol)
	}
	connection := Connection{SecurityProtocol: "PLAINTEXT", Extra: extra}
	config := config("check", connection)
	delete(config, "bootstrap.servers")
	c, err := kafka.NewConsumer(&config)
	if err != nil {
		return connection.redactError(err)
	}
	return c.Close()
}

// CheckOAuthBearer names the first setting that OAUTHBEARER needs and extra lacks,
// "" when there is none. librdkafka would find it only when it connects.
func CheckOAuthBearer(extra map[string]string) string {
	if !strings.EqualFold(extra[methodSetting], "oidc") {
		return methodSetting + "=oidc"
	}
	const credentials = "sasl.oauthbearer.client.credentials." // librdkafka's other names of id and secret begin with it
	needed := [][]string{{"sasl.oauthbearer.token.endpoint.url"}}
	if grant := extra["sasl.oauthbearer.grant.type"]; grant == "" || grant == "client_credentials" {
		needed = append(needed,
			[]string{"sasl.oauthbearer.client.id", credentials + "client.id"},
			[]string{"sasl.oauthbearer.client.secret", credentials + "client.secret"})
	}
	for _, names := range needed {
		if !slices.ContainsFunc(names, func(name string) bool { return extra[name] != "" }) {
			return names[0]
		}
	}
	return ""
}

// config is the consumer's configuration.
func config(group string, c Connection) kafka.ConfigMap {
	m := kafka.ConfigMap{
		"bootstrap.servers": c.BootstrapServers,
		"security.protocol": c.SecurityProtocol,
		"group.id":          group,
		"client.id":         "genesys-fanout",

		"go.logs.channel.enable": true,

		// Offsets are committed by hand, and stored nowhere before.
		"enable.auto.commit":       false,
		"enable.auto.offset.store": false,

		// ingest decides itself where a partition is read from (place). librdkafka
		// resets a position only if Kafka no longer has it, or does not have it
		// yet, and then the beginning loses nothing.
		resetSetting: "earliest",
		// The end of a partition is reported even if nothing was delivered before
		// it, as with an aborted transaction.
		"enable.partition.eof": true,

		// A backlog of any size waits in Kafka. Prefetched are at most 4 MiB and
		// 2 MiB of a fetch in flight per broker. Measured with 100,000 events of 1 KB and 256
		// starts in flight, without the Temporal client: at most 96 MB of memory;
		// 125 MB with twice the limits, 136 MB with four times, each at the same
		// 4,000 events per second.
		"queued.max.messages.kbytes": 4 << 10,
		"fetch.max.bytes":            2 << 20,

		// A broker that is cut off without a reset is noticed within /readyz's 20 s.
		statisticsSetting:          int(statisticsInterval / time.Millisecond),
		"socket.timeout.ms":        10_000,
		"socket.keepalive.enable":  true,
		"reconnect.backoff.max.ms": 5_000,
		// A topic or partition that is created later is found this soon.
		"topic.metadata.refresh.interval.ms": 30_000,

		// A member that was killed gives its partitions up after this long.
		"session.timeout.ms": 15_000,
	}
	if strings.HasPrefix(c.SecurityProtocol, "SASL_") {
		m["sasl.mechanisms"] = c.SASLMechanism
		if c.SASLMechanism != OAuthBearer {
			m["sasl.username"] = c.SASLUsername
			m["sasl.password"] = c.SASLPassword
		}
	}
	if c.CALocation != "" {
		m["ssl.ca.location"] = c.CALocation
	}
	for name, value := range c.Extra {
		m[name] = value
	}
	return m
}

// secretSettings are the ends of the names of librdkafka settings whose values
// are secrets (its configuration table marks them as sensitive).
var secretSettings = []string{"password", "passphrase", "secret", "ssl.key.pem", "private.key.pem", "sasl.oauthbearer.config"}

// redact hides the secrets of the connection in a text of librdkafka.
func (c Connection) redact(text string) string {
	hidden := []string{c.SASLPassword}
	for name, value := range c.Extra {
		if slices.ContainsFunc(secretSettings, func(end string) bool { return strings.HasSuffix(name, end) }) {
			hidden = append(hidden, value)
		}
	}
	for _, secret := range hidden {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "[redacted]")
		}
	}
	return text
}

// redactError does the same with an error, whose code stays.
func (c Connection) redactError(err error) error {
	var e kafka.Error
	if !errors.As(err, &e) {
		return err
	}
	text := e.String()
	if redacted := c.redact(text); redacted != text {
		return kafka.NewError(e.Code(), redacted, e.IsFatal())
	}
	return err
}
