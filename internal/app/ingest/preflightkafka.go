package ingest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"genesys-fanout/ingest"
	"genesys-fanout/internal/preflight"
)

// The checks of Kafka, by the names that others wait for.
const (
	checkBroker         = "kafka broker"
	checkAuthentication = "kafka authentication"
	checkTopic          = "kafka topic"
)

// kafkaChecks ask the brokers. A check that stands After another reads what that
// one has found.
type kafkaChecks struct {
	settings   *settings
	temporal   *preflight.TemporalChecks
	connection ingest.Connection // of the settings, or set by checkDetails

	mu     sync.Mutex // guards probe: close may come before its check has ended
	probe  *ingest.Probe
	topics []ingest.ProbedTopic // those that are there
}

func (k *kafkaChecks) checks() []preflight.Check {
	var after []string
	if !k.settings.static() {
		after = []string{checkDetails}
	}
	return []preflight.Check{
		{Name: checkBroker, After: after, Run: k.reachBrokers},
		{Name: checkAuthentication, After: []string{checkBroker}, Run: k.authenticate},
		{Name: checkTopic, After: []string{checkAuthentication}, Run: k.lookAtTopics},
		{Name: "kafka group", After: []string{checkTopic}, Run: k.lookAtGroup},
	}
}

// retention compares the topics' with the namespace's.
func (k *kafkaChecks) retention() preflight.Check {
	return preflight.Check{Name: "retention", After: []string{checkTopic, preflight.CheckTemporal}, Run: k.compareRetention}
}

func (k *kafkaChecks) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.probe != nil {
		k.probe.Close()
	}
}

// reachBrokers dials every bootstrap broker: unlike librdkafka, which is content
// with one, and whose words on certificates are OpenSSL's.
func (k *kafkaChecks) reachBrokers(ctx context.Context) []preflight.Result {
	secured := ingest.SecuredBy(k.connection)
	var config *tls.Config
	if secured.TLS() {
		roots, err := rootsOf(secured.CA)
		if err != nil {
			return []preflight.Result{preflight.Fail(err.Error(), "name a readable PEM file in KAFKA_SSL_CA_LOCATION, or unset it for the system's roots")}
		}
		config = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	addresses := strings.Split(k.connection.BootstrapServers, ",")
	results := make([]preflight.Result, len(addresses))
	var all sync.WaitGroup
	for i, address := range addresses {
		address = strings.TrimSpace(address)
		all.Go(func() {
			results[i] = k.reachBroker(ctx, address, config, secured)
			results[i].Check = checkBroker + " " + address
		})
	}
	all.Wait()
	return results
}

func (k *kafkaChecks) reachBroker(ctx context.Context, address string, config *tls.Config, secured ingest.Secured) preflight.Result {
	reached, err := preflight.Reach(ctx, address, config)
	var fault *preflight.ReachError
	if !errors.As(err, &fault) {
		return preflight.Pass("%s", reached)
	}
	result := preflight.Fail(fault.Error(), k.brokerCure(fault.Step, secured))
	if fault.Step > preflight.Connect && len(secured.Others) > 0 {
		result.Status = preflight.Warning
		result.Detail += " (tried without " + strings.Join(secured.Others, ", ") + " of KAFKA_OPTIONS)"
	}
	return result
}

func (k *kafkaChecks) brokerCure(step preflight.Step, secured ingest.Secured) string {
	servers := "KAFKA_BOOTSTRAP_SERVERS"
	if !k.settings.static() {
		servers = "the Genesys API's bootstrapServers, or set KAFKA_BOOTSTRAP_SERVERS"
	}
	switch step {
	case preflight.Resolve:
		return "check this machine's DNS, and the host in " + servers
	case preflight.Connect:
		return "see that a firewall lets the port out, and check host and port in " + servers
	case preflight.Untrusted:
		if secured.CA != "" {
			return "the CA in KAFKA_SSL_CA_LOCATION is not that of the brokers: name theirs, or unset it for the system's roots"
		}
		return "name the brokers' CA in KAFKA_SSL_CA_LOCATION"
	case preflight.Expired:
		return "the broker's certificate must be renewed; or correct this machine's clock"
	case preflight.OtherHost:
		return "use the certificate's name for the broker; check the host in " + servers
	}
	return "see that the port speaks TLS, as KAFKA_SECURITY_PROTOCOL=" + secured.Protocol + " needs it; check the port in " + servers
}

// rootsOf reads what ssl.ca.location may name: a file, or a directory of them. Nil
// are the system's.
func rootsOf(location string) (*x509.CertPool, error) {
	if location == "" || location == "probe" { // librdkafka's word for the system's
		return nil, nil
	}
	files := []string{location}
	if info, err := os.Stat(location); err == nil && info.IsDir() {
		if files, err = filepath.Glob(filepath.Join(location, "*")); err != nil {
			return nil, err
		}
	}
	roots, found := x509.NewCertPool(), false
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		found = roots.AppendCertsFromPEM(content) || found
	}
	if !found {
		return nil, fmt.Errorf("%s holds no certificate", location)
	}
	return roots, nil
}

func (k *kafkaChecks) authenticate(ctx context.Context) []preflight.Result {
	s, c := k.settings, k.connection
	probe, err := ingest.NewProbe(ingest.ProbeOptions{GroupID: s.KafkaGroupID, Reset: s.KafkaAutoOffsetReset}, c)
	if err != nil {
		return []preflight.Result{preflight.Fail(err.Error(), "correct KAFKA_OPTIONS, or the other KAFKA_ setting that it names")}
	}
	k.mu.Lock()
	k.probe = probe
	k.mu.Unlock()
	brokers, err := probe.Authenticate(ctx)
	secured := ingest.SecuredBy(c)
	user := fmt.Sprintf("%s as %q with %s", secured.Protocol, c.SASLUsername, c.SASLMechanism)
	cure := "correct KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD and KAFKA_SASL_MECHANISM (or the Genesys integration they come from)"
	if c.SASLMechanism == ingest.OAuthBearer {
		user = secured.Protocol + " with " + c.SASLMechanism
		cure = "correct the sasl.oauthbearer settings in KAFKA_OPTIONS, and see that the token endpoint issues a token that the brokers accept"
	}
	switch {
	case ingest.IsAuthenticationError(err):
		return []preflight.Result{preflight.Fail(fmt.Sprintf("%s: %v", user, err), cure+", and see that the outbound port is the brokers' SASL port")}
	case err != nil:
		return []preflight.Result{preflight.Fail(err.Error(), "see that the brokers speak KAFKA_SECURITY_PROTOCOL="+secured.Protocol+
			" on this port, and that the addresses they advertise are reached from here")}
	case !secured.SASL():
		return []preflight.Result{preflight.Pass("%s, which asks for no user; brokers: %d", secured.Protocol, brokers)}
	}
	return []preflight.Result{preflight.Pass("%s; brokers: %d", user, brokers)}
}

func (k *kafkaChecks) lookAtTopics(ctx context.Context) []preflight.Result {
	var names []string
	var results []preflight.Result
	for _, name := range k.connection.Topics {
		if strings.HasPrefix(name, "^") {
			results = append(results, preflight.Result{Check: checkTopic + " " + name, Status: preflight.Skipped, Detail: "a pattern, which is looked up when the group is joined"})
			continue
		}
		names = append(names, name)
	}
	if len(names) == 0 {
		return results
	}
	topics, err := k.probe.Topics(ctx, names)
	if err != nil {
		return []preflight.Result{preflight.Fail(err.Error(), "see that the addresses that the brokers advertise are reached from here, and try again")}
	}
	for _, topic := range topics {
		result := k.topicResult(topic)
		result.Check = checkTopic + " " + topic.Name
		results = append(results, result)
		if result.Status != preflight.Failed {
			k.topics = append(k.topics, topic)
		}
	}
	return results
}

func (k *kafkaChecks) topicResult(topic ingest.ProbedTopic) preflight.Result {
	switch {
	case topic.Unknown():
		return preflight.Fail("there is no such topic", "create the topic or correct KAFKA_TOPIC")
	case topic.Err != nil:
		return preflight.Fail(topic.Err.Error(), k.allow("read the topic (READ and DESCRIBE)"))
	case topic.Unreadable:
		return preflight.Fail("it may be seen but not read", k.allow("read the topic (READ)"))
	case topic.Leaderless > 0:
		return preflight.Warn(fmt.Sprintf("%d of %d partitions have no leader: their messages wait", topic.Leaderless, topic.Partitions), "see that all brokers run")
	}
	return preflight.Pass("partitions: %d", topic.Partitions)
}

func (k *kafkaChecks) allow(what string) string {
	if k.connection.SASLMechanism == ingest.OAuthBearer {
		return "allow the token's user to " + what
	}
	return fmt.Sprintf("allow the user %q to %s, or correct KAFKA_SASL_USERNAME", k.connection.SASLUsername, what)
}

func (k *kafkaChecks) lookAtGroup(ctx context.Context) []preflight.Result {
	group, err := k.probe.Group(ctx, k.topics)
	result := k.groupResult(group, err)
	result.Check = "kafka group " + k.settings.KafkaGroupID
	return []preflight.Result{result}
}

func (k *kafkaChecks) groupResult(group ingest.ProbedGroup, err error) preflight.Result {
	behind := fmt.Sprintf("members: %d, messages to read: %d", group.Members, group.Lag)
	switch {
	case ingest.IsAuthorizationError(err), err == nil && group.Unusable:
		detail := "it may be seen but not used"
		if err != nil {
			detail = err.Error()
		}
		return preflight.Fail(detail, k.allow("read as this group (READ)")+", or KAFKA_GROUP_ID")
	case err != nil:
		return preflight.Fail(err.Error(), "see that every broker that the cluster advertises is reached from here, and try again")
	case group.Lost > 0:
		return preflight.Warn(fmt.Sprintf("%s, and the topic dropped %d before the group read them", behind, group.Lost),
			"raise the topic's retention.ms or retention.bytes, and see why the group did not read")
	case group.Fresh:
		return preflight.Pass("%s (nothing is committed yet: KAFKA_AUTO_OFFSET_RESET=%s tells where it begins)", behind, k.settings.KafkaAutoOffsetReset)
	}
	return preflight.Pass("%s", behind)
}

// compareRetention warns where a rewind of the group would deliver again: a run
// that Temporal has forgotten no longer drops its message as a duplicate.
func (k *kafkaChecks) compareRetention(ctx context.Context) []preflight.Result {
	var results []preflight.Result
	for _, topic := range k.topics {
		kept, err := k.probe.Retention(ctx, topic.Name)
		result := k.retentionResult(topic.Name, kept, err)
		result.Check = "retention " + topic.Name
		results = append(results, result)
	}
	return results
}

func (k *kafkaChecks) retentionResult(topic string, kept time.Duration, err error) preflight.Result {
	runs := k.temporal.Retention
	span := preflight.FormatDays(kept)
	if kept == ingest.Forever {
		span = "any time"
	}
	switch {
	case err != nil:
		return preflight.Skip("the brokers do not tell the topic's retention.ms: " + err.Error())
	case runs <= 0:
		return preflight.Skip("Temporal does not tell how long it keeps closed runs")
	case kept == ingest.Forever, kept > runs:
		return preflight.Warn(fmt.Sprintf("the topic keeps messages for %s, the namespace keeps closed runs for %s: after a rewind of the group, older ones would be delivered again", span, preflight.FormatDays(runs)),
			"raise the namespace's retention (temporal operator namespace update --retention), or do not rewind "+topic+" further than that")
	}
	return preflight.Pass("messages are kept for %s, closed runs for %s", span, preflight.FormatDays(runs))
}
