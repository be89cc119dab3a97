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
	"genesys-fanout/ingest/probe"
	"genesys-fanout/internal/preflight"
)

// The names of those checks of Kafka that other checks wait for.
const (
	checkBroker         = "kafka broker"
	checkAuthentication = "kafka authentication"
	checkTopic          = "kafka topic"
)

// kafkaChecks ask the brokers. A check that waits for another one uses its results.
type kafkaChecks struct {
	settings   *settings
	temporal   *preflight.TemporalChecks
	connection ingest.Connection // from the settings, or set by the check of the connection details

	mu     sync.Mutex // guards probe, because close may be called before its check has ended
	probe  *probe.Probe
	topics []probe.Topic // those that can be read
}

func (k *kafkaChecks) checks() []preflight.Check {
	var after []string
	if !k.settings.static() {
		after = []string{checkDetails}
	}
	return []preflight.Check{
		{Name: checkBroker, After: after, Run: k.reachBrokers},
		{Name: checkAuthentication, After: []string{checkBroker}, Run: k.authenticate},
		{Name: checkTopic, After: []string{checkAuthentication}, Run: k.checkTopics},
		{Name: "kafka group", After: []string{checkTopic}, Run: k.checkGroup},
	}
}

// retention compares the retention of the topics with that of the namespace.
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

// reachBrokers dials every bootstrap broker. librdkafka is content with one, and its errors
// about certificates are those of OpenSSL.
func (k *kafkaChecks) reachBrokers(ctx context.Context) []preflight.Result {
	security := probe.SecurityOf(k.connection)
	var config *tls.Config
	if security.TLS() {
		roots, err := readRoots(security.CA)
		if err != nil {
			return []preflight.Result{preflight.Fail(err.Error(), "name a readable PEM file in KAFKA_SSL_CA_LOCATION, or unset it to use the system's roots")}
		}
		config = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	addresses := strings.Split(k.connection.BootstrapServers, ",")
	results := make([]preflight.Result, len(addresses))
	var all sync.WaitGroup
	for i, address := range addresses {
		address = strings.TrimSpace(address)
		all.Go(func() {
			results[i] = k.reachBroker(ctx, address, config, security)
			results[i].Check = checkBroker + " " + address
		})
	}
	all.Wait()
	return results
}

// reachBroker dials one broker. If KAFKA_OPTIONS has further TLS settings, which this check
// does not know, a failed handshake is only a warning.
func (k *kafkaChecks) reachBroker(ctx context.Context, address string, config *tls.Config, security probe.Security) preflight.Result {
	reached, err := preflight.Reach(ctx, address, config)
	var failure *preflight.ReachError
	if !errors.As(err, &failure) {
		return preflight.Pass("%s", reached)
	}
	result := preflight.Fail(failure.Error(), k.brokerCure(failure.Step, security))
	if failure.Step > preflight.Connect && len(security.Others) > 0 {
		result.Status = preflight.Warning
		result.Detail += " (tried without " + strings.Join(security.Others, ", ") + " of KAFKA_OPTIONS)"
	}
	return result
}

func (k *kafkaChecks) brokerCure(step preflight.Step, security probe.Security) string {
	servers := "KAFKA_BOOTSTRAP_SERVERS"
	if !k.settings.static() {
		servers = "the Genesys API's bootstrapServers, or set KAFKA_BOOTSTRAP_SERVERS"
	}
	switch step {
	case preflight.Resolve:
		return "check this machine's DNS, and the host in " + servers
	case preflight.Connect:
		return "check that no firewall blocks the outbound port, and check host and port in " + servers
	case preflight.Untrusted:
		if security.CA != "" {
			return "the CA in KAFKA_SSL_CA_LOCATION is not that of the brokers: name the brokers' CA, or unset it to use the system's roots"
		}
		return "name the brokers' CA in KAFKA_SSL_CA_LOCATION"
	case preflight.Expired:
		return "the broker's certificate must be renewed, or this machine's clock must be corrected"
	case preflight.OtherHost:
		return "use the name in the certificate for the broker; check the host in " + servers
	}
	return "check that the port speaks TLS, which KAFKA_SECURITY_PROTOCOL=" + security.Protocol + " needs; check the port in " + servers
}

// readRoots reads the certificates that ssl.ca.location names: a file, or the files of a
// directory. It returns nil for the system's roots.
func readRoots(location string) (*x509.CertPool, error) {
	if location == "" || location == "probe" { // librdkafka's name of the system's roots
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
		return nil, fmt.Errorf("%s contains no certificate", location)
	}
	return roots, nil
}

func (k *kafkaChecks) authenticate(ctx context.Context) []preflight.Result {
	s, c := k.settings, k.connection
	client, err := probe.New(probe.Options{GroupID: s.KafkaGroupID, Reset: s.KafkaAutoOffsetReset}, c)
	if err != nil {
		return []preflight.Result{preflight.Fail(err.Error(), "correct KAFKA_OPTIONS, or the other KAFKA_ setting that the error names")}
	}
	k.mu.Lock()
	k.probe = client
	k.mu.Unlock()
	brokers, err := client.Authenticate(ctx)
	security := probe.SecurityOf(c)
	user := fmt.Sprintf("%s as %q with %s", security.Protocol, c.SASLUsername, c.SASLMechanism)
	if c.SASLMechanism == ingest.OAuthBearer {
		user = security.Protocol + " with " + c.SASLMechanism
	}
	switch {
	case ingest.IsAuthenticationError(err):
		return []preflight.Result{preflight.Fail(fmt.Sprintf("%s: %v", user, err), ingest.CredentialsCure(c))}
	case err != nil:
		return []preflight.Result{preflight.Fail(err.Error(), "check that the brokers speak KAFKA_SECURITY_PROTOCOL="+security.Protocol+
			" on this port, and that this machine reaches the addresses that they advertise")}
	case !security.SASL():
		return []preflight.Result{preflight.Pass("%s, which needs no user; brokers: %d", security.Protocol, brokers)}
	}
	return []preflight.Result{preflight.Pass("%s; brokers: %d", user, brokers)}
}

func (k *kafkaChecks) checkTopics(ctx context.Context) []preflight.Result {
	var names []string
	var results []preflight.Result
	for _, name := range k.connection.Topics {
		if ingest.IsPattern(name) {
			results = append(results, preflight.Result{Check: checkTopic + " " + name, Status: preflight.Skipped, Detail: "this is a pattern, whose topics are known only after the group is joined"})
			continue
		}
		names = append(names, name)
	}
	if len(names) == 0 {
		return results
	}
	topics, err := k.probe.Topics(ctx, names)
	if err != nil {
		return []preflight.Result{preflight.Fail(err.Error(), "check that this machine reaches the addresses that the brokers advertise, and try again")}
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

func (k *kafkaChecks) topicResult(topic probe.Topic) preflight.Result {
	switch {
	case topic.Missing():
		return preflight.Fail("there is no such topic", ingest.MissingTopicCure)
	case topic.Err != nil:
		return preflight.Fail(topic.Err.Error(), ingest.TopicAccessCure(k.connection))
	case topic.ReadNotAllowed:
		return preflight.Fail("the user may describe the topic, but not read it", ingest.TopicAccessCure(k.connection))
	case topic.Leaderless > 0:
		return preflight.Warn(fmt.Sprintf("%d of %d partitions have no leader, so their messages wait", topic.Leaderless, topic.Partitions), ingest.LeaderlessCure)
	}
	return preflight.Pass("partitions: %d", topic.Partitions)
}

func (k *kafkaChecks) checkGroup(ctx context.Context) []preflight.Result {
	group, err := k.probe.Group(ctx, k.topics)
	result := k.groupResult(group, err)
	result.Check = "kafka group " + k.settings.KafkaGroupID
	return []preflight.Result{result}
}

func (k *kafkaChecks) groupResult(group probe.Group, err error) preflight.Result {
	lag := fmt.Sprintf("members: %d, messages to read: %d", group.Members, group.Lag)
	switch {
	case ingest.IsAuthorizationError(err), err == nil && group.ReadNotAllowed:
		detail := "the user may describe the group, but not read as it"
		if err != nil {
			detail = err.Error()
		}
		return preflight.Fail(detail, ingest.GroupAccessCure(k.connection))
	case err != nil:
		return preflight.Fail(err.Error(), "check that this machine reaches every broker that the cluster advertises, and try again")
	case group.Dropped > 0:
		return preflight.Warn(fmt.Sprintf("%s, and the topic dropped %d before the group read them", lag, group.Dropped), ingest.DroppedCure)
	case group.NoCommits:
		return preflight.Pass("%s (nothing is committed yet: KAFKA_AUTO_OFFSET_RESET=%s decides where the group begins)", lag, k.settings.KafkaAutoOffsetReset)
	}
	return preflight.Pass("%s", lag)
}

// compareRetention warns if a rewind of the group could deliver messages again: a message is
// dropped as a duplicate only as long as Temporal keeps its run.
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
	if kept == probe.Forever {
		span = "ever"
	}
	switch {
	case err != nil:
		return preflight.Skip("the brokers do not report the topic's retention.ms: " + err.Error())
	case runs <= 0:
		return preflight.Skip("Temporal does not report how long it keeps closed runs")
	case kept == probe.Forever, kept > runs:
		return preflight.Warn(fmt.Sprintf("the topic keeps messages for %s, but the namespace keeps closed runs for %s: after a rewind of the group, older messages would be delivered again", span, preflight.FormatDays(runs)),
			"raise the namespace's retention (temporal operator namespace update --retention), or do not rewind "+topic+" further than that")
	}
	return preflight.Pass("messages are kept for %s, closed runs for %s", span, preflight.FormatDays(runs))
}
