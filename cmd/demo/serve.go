package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"time"

	"github.com/alecthomas/kong"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"genesys-fanout/internal/contactcentre"
	"genesys-fanout/internal/devstack"
	"genesys-fanout/internal/process"
)

// serveOptions are the settings of "demo serve", which docker-compose.temporal.yml runs.
type serveOptions struct {
	GenesysAddr      string        `default:"127.0.0.1:8081" help:"Address of the Genesys stand-in."`
	TargetsAddr      string        `default:"127.0.0.1:8082" help:"Address of the targets; each has a path of its name, such as /analytics-service."`
	KafkaBootstrap   string        `required:"" help:"Address of the Kafka broker to publish to, as host:port."`
	KafkaUsername    string        `env:"KAFKA_SASL_USERNAME" help:"User name for the broker; if it is empty, SASL is not used."`
	KafkaPassword    string        `env:"KAFKA_SASL_PASSWORD" help:"Password for the broker."`
	Mechanism        string        `env:"KAFKA_SASL_MECHANISM" default:"SCRAM-SHA-512" enum:"SCRAM-SHA-512,SCRAM-SHA-256" help:"SASL mechanism: SCRAM-SHA-512 or SCRAM-SHA-256."`
	KafkaTopic       string        `env:"KAFKA_TOPIC" default:"genesys-cloud-interaction-events" help:"Topic to publish to."`
	SecurityProtocol string        `env:"KAFKA_SECURITY_PROTOCOL" default:"SASL_PLAINTEXT" enum:"SASL_PLAINTEXT,SASL_SSL" help:"Security protocol: SASL_PLAINTEXT or SASL_SSL."`
	Every            time.Duration `default:"1s" help:"Time between two events."`
}

// serve runs the Genesys stand-in and the targets, and publishes events, until ctx ends.
func serve(ctx context.Context, args []string) error {
	var o serveOptions
	parser, err := kong.New(&o, kong.Name("demo serve"), kong.Description("Run a Genesys stand-in and three targets, and publish events."))
	if err != nil {
		return err
	}
	if _, err := parser.Parse(args); err != nil {
		return &process.ExitError{Code: process.ExitUsage, Err: fmt.Errorf("demo serve: %w; see --help", err)}
	}
	genesys, err := devstack.StartGenesys(ctx, devstack.GenesysOptions{
		ClientID: os.Getenv("GENESYS_CLIENT_ID"), ClientSecret: os.Getenv("GENESYS_CLIENT_SECRET"),
		Details: devstack.ConnectionDetails{
			BootstrapServers: o.KafkaBootstrap, SASLMechanism: o.Mechanism,
			SASLUsername: o.KafkaUsername, SASLPassword: o.KafkaPassword, Topics: []string{o.KafkaTopic},
		},
	})
	if err != nil {
		return err
	}
	defer genesys.Close()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintln(w, "These are the targets of the demo. Each has a path of its name.") // the caller may be gone
	})
	for name, script := range targetScripts(inTenth) {
		target, err := devstack.StartTarget(ctx, devstack.TargetOptions{Script: script, Discard: true})
		if err != nil {
			return err
		}
		defer target.Close()
		forward, err := forwardTo(target.URL())
		if err != nil {
			return err
		}
		mux.Handle("/"+name, forward)
		mux.Handle("/"+name+"/", forward)
	}
	forward, err := forwardTo(genesys.URL())
	if err != nil {
		return err
	}
	ended := make(chan error, 3)
	go func() { ended <- listen(ctx, o.GenesysAddr, forward) }()
	go func() { ended <- listen(ctx, o.TargetsAddr, mux) }()
	go func() { ended <- publish(ctx, o) }()
	fmt.Printf("the Genesys stand-in is at %s (GENESYS_CLIENT_ID=%s), the targets at %s/<name>\n", o.GenesysAddr, genesys.ClientID(), o.TargetsAddr)
	return <-ended
}

// forwardTo returns a handler that forwards requests to a part of devstack, because those
// listen on loopback alone.
func forwardTo(part string) (http.Handler, error) {
	to, err := url.Parse(part)
	if err != nil {
		return nil, err
	}
	return httputil.NewSingleHostReverseProxy(to), nil
}

func listen(ctx context.Context, addr string, handler http.Handler) error {
	server := &http.Server{Addr: addr, Handler: handler, ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// publish publishes made-up events to Kafka until ctx ends.
func publish(ctx context.Context, o serveOptions) error {
	options := []kgo.Opt{kgo.SeedBrokers(o.KafkaBootstrap), kgo.DefaultProduceTopic(o.KafkaTopic), kgo.RecordDeliveryTimeout(10 * time.Second)}
	if o.KafkaUsername != "" {
		options = append(options, kgo.SASL(mechanism(o)))
	}
	if o.SecurityProtocol == "SASL_SSL" {
		options = append(options, kgo.DialTLS())
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		return err
	}
	defer client.Close()
	centre := contactcentre.New(uint64(time.Now().UnixNano()), time.Now())
	ticker := time.NewTicker(o.Every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		e := centre.Next()
		if err := client.ProduceSync(ctx, &kgo.Record{Key: []byte(e.ConversationID), Value: e.Message}).FirstErr(); err != nil && ctx.Err() == nil {
			fmt.Fprintln(os.Stderr, "demo serve: an event could not be published, and is left out:", err)
		}
	}
}

func mechanism(o serveOptions) sasl.Mechanism {
	auth := scram.Auth{User: o.KafkaUsername, Pass: o.KafkaPassword}
	if o.Mechanism == "SCRAM-SHA-256" {
		return auth.AsSha256Mechanism()
	}
	return auth.AsSha512Mechanism()
}
