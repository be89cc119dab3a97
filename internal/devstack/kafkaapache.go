package devstack

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/google/uuid"
)

// apacheBroker is one node of Apache Kafka, which runs on the Java of this machine.
type apacheBroker struct {
	address    string
	advertised string // the address that clients connect to
	java       string // path of the program
	classPath  string
	configFile string
	process    *Process // nil while stopped
}

func startApache(ctx context.Context, options KafkaOptions, users []account, certificates *certificates) (*apacheBroker, error) {
	java, err := exec.LookPath("java")
	if err != nil {
		return nil, fmt.Errorf("find java for Apache Kafka (install a Java 17 runtime): %w", err)
	}
	jars, err := kafkaJars(ctx)
	if err != nil {
		return nil, err
	}
	port := options.Port
	if port == 0 {
		if port, err = FreePort(ctx); err != nil {
			return nil, err
		}
	}
	controllerPort, err := FreePort(ctx)
	if err != nil {
		return nil, err
	}
	b := &apacheBroker{
		address:    Loopback(port),
		advertised: cmp.Or(options.Advertised, Loopback(port)),
		java:       java,
		classPath:  filepath.Join(jars, "*"),
		configFile: filepath.Join(options.Dir, "server.properties"),
	}
	properties := serverProperties(options, users[0], certificates, b.address, b.advertised, Loopback(controllerPort))
	if err := os.WriteFile(b.configFile, []byte(properties), 0o600); err != nil {
		return nil, err
	}
	if err := b.format(ctx, users); err != nil {
		return nil, err
	}
	return b, b.start(ctx)
}

// kafkaJars returns the folder of the broker's jars. Maven downloads them once for each content of
// tools/kafka/pom.xml. Several processes may do so at the same time, because each downloads to a
// folder of its own and renames it at the end; the first rename wins.
func kafkaJars(ctx context.Context) (string, error) {
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	pom := filepath.Join(root, "tools", "kafka", "pom.xml")
	text, err := os.ReadFile(pom)
	if err != nil {
		return "", err
	}
	cache := filepath.Join(root, ".cache", "kafka")
	jars := filepath.Join(cache, fmt.Sprintf("%x", sha256.Sum256(text))[:16])
	if isDir(jars) {
		return jars, nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	downloaded, err := os.MkdirTemp(cache, "fetch-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(downloaded) }() // it exists only if the rename did not happen
	if err := downloadJars(ctx, pom, downloaded); err != nil {
		return "", err
	}
	if err := os.Rename(downloaded, jars); err != nil && !isDir(jars) {
		return "", err
	}
	return jars, nil
}

func downloadJars(ctx context.Context, pom, dir string) error {
	mvn, err := exec.LookPath("mvn")
	if err != nil {
		return fmt.Errorf("find mvn to fetch Apache Kafka (install Maven): %w", err)
	}
	out, err := exec.CommandContext(ctx, mvn, "-q", "-B", "-f", pom, "dependency:copy-dependencies", "-DoutputDirectory="+dir).CombinedOutput()
	if err != nil {
		return fmt.Errorf("fetch Apache Kafka with Maven: %w:\n%s", err, out)
	}
	return nil
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func serverProperties(options KafkaOptions, broker account, certificates *certificates, address, advertised, controller string) string {
	lines := []string{
		"process.roles=broker,controller",
		"node.id=1",
		"controller.quorum.voters=1@" + controller,
		"listeners=SASL_SSL://" + address + ",CONTROLLER://" + controller,
		"advertised.listeners=SASL_SSL://" + advertised,
		"controller.listener.names=CONTROLLER",
		"inter.broker.listener.name=SASL_SSL",
		"listener.security.protocol.map=CONTROLLER:PLAINTEXT,SASL_SSL:SASL_SSL",
		"sasl.enabled.mechanisms=SCRAM-SHA-512,OAUTHBEARER",
		"sasl.mechanism.inter.broker.protocol=SCRAM-SHA-512",
		fmt.Sprintf(`listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required username=%q password=%q;`,
			broker.name, broker.password),
		`listener.name.sasl_ssl.oauthbearer.sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";`,
		"ssl.keystore.type=PEM",
		"ssl.keystore.location=" + certificates.keyStoreFile,
		"ssl.truststore.type=PEM",
		"ssl.truststore.location=" + certificates.caFile,
		"log.dirs=" + filepath.Join(options.Dir, "log"),
		"auto.create.topics.enable=false",
		fmt.Sprintf("message.max.bytes=%d", maxMessage),
		"offsets.topic.replication.factor=1",
		"offsets.topic.num.partitions=4",
		"transaction.state.log.replication.factor=1",
		"transaction.state.log.min.isr=1",
		"group.initial.rebalance.delay.ms=0",
		"log.cleaner.backoff.ms=1000",
		fmt.Sprintf("connections.max.reauth.ms=%d", options.Reauthenticate.Milliseconds()),
	}
	if options.ACLs {
		lines = append(lines,
			"authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
			"super.users=User:"+broker.name+";User:ANONYMOUS") // connections to the controller's listener have no user
	}
	return strings.Join(lines, "\n") + "\n"
}

// format creates the broker's storage, which contains the users' credentials.
func (b *apacheBroker) format(ctx context.Context, users []account) error {
	args := []string{
		"-cp", b.classPath, "kafka.tools.StorageTool", "format",
		"-t", randomClusterID(), "-c", b.configFile,
	}
	for _, u := range users {
		args = append(args, "--add-scram", fmt.Sprintf("SCRAM-SHA-512=[name=%s,password=%s]", u.name, u.password))
	}
	out, err := exec.CommandContext(ctx, b.java, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("format Apache Kafka's storage: %w:\n%s", err, out)
	}
	return nil
}

// randomClusterID returns a cluster ID in Kafka's form: the 16 bytes of a UUID in base64. The first
// bit is cleared, because StorageTool would read a leading dash as an option.
func randomClusterID() string {
	id := uuid.New()
	id[0] &= 0x7f
	return base64.RawURLEncoding.EncodeToString(id[:])
}

func (b *apacheBroker) bootstrap() string { return b.advertised }

func (b *apacheBroker) start(ctx context.Context) error {
	if b.process != nil {
		return nil
	}
	process, err := StartProcess(ctx, ProcessOptions{
		Path: b.java,
		Args: []string{"-Xmx512m", "-XX:TieredStopAtLevel=1", "-cp", b.classPath, "kafka.Kafka", b.configFile},
	})
	if err != nil {
		return err
	}
	b.process = process
	if err := b.awaitListening(ctx); err != nil {
		b.stop()
		return err
	}
	return nil
}

// awaitListening waits until the broker's port accepts a connection. The broker's output cannot be
// used for this, because without a logging configuration the broker prints nothing.
func (b *apacheBroker) awaitListening(ctx context.Context) error {
	return b.process.awaitSuccess(ctx, "port "+b.address, func(ctx context.Context) error {
		conn, err := dial(ctx, b.address)
		if err != nil {
			return err
		}
		return conn.Close()
	})
}

func (b *apacheBroker) stop() {
	if b.process != nil {
		b.process.Kill()
		b.process = nil
	}
}

// shutDown ends the broker in order.
func (b *apacheBroker) shutDown(ctx context.Context) error {
	if b.process == nil {
		return nil
	}
	process := b.process
	b.process = nil
	_, err := process.Stop(ctx)
	return err
}

// Process returns the broker's process, which Pause and Resume stop and continue, or nil if the
// broker is in this process or does not run.
func (k *Kafka) Process() *Process {
	if b, ok := k.broker.(*apacheBroker); ok {
		return b.process
	}
	return nil
}

// ShutDown ends the broker in order, and Start starts it again. It needs BackendApache: Stop is an
// outage of either backend, and with Apache Kafka a crash.
func (k *Kafka) ShutDown(ctx context.Context) error {
	b, ok := k.broker.(*apacheBroker)
	if !ok {
		return fmt.Errorf("only the backend %s can be shut down; this broker is %s", BackendApache, k.Backend())
	}
	return b.shutDown(ctx)
}

// disconnect restarts the broker, because Apache Kafka cannot break the connections of a user whose
// password has changed.
func (b *apacheBroker) disconnect(ctx context.Context, password string) error {
	b.stop()
	if err := b.writePassword(password); err != nil {
		return err
	}
	return b.start(ctx)
}

// writePassword changes the password in the broker's configuration, with which the broker connects
// to itself.
func (b *apacheBroker) writePassword(password string) error {
	text, err := os.ReadFile(b.configFile)
	if err != nil {
		return err
	}
	before, rest, found := strings.Cut(string(text), " password=")
	_, after, ended := strings.Cut(rest, ";")
	if !found || !ended {
		return fmt.Errorf("%s contains no password", b.configFile)
	}
	return os.WriteFile(b.configFile, []byte(fmt.Sprintf("%s password=%q;%s", before, password, after)), 0o600)
}

func (b *apacheBroker) close() { b.stop() }
