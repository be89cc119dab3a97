// Package genesys asks the Genesys Cloud API how to connect to the Kafka cluster
// that has the organisation's events. It gets an OAuth token by the client
// credentials grant and reads the connection details with it.
//
// The package does not retry longer than its caller's context allows, does not
// follow redirects, and never puts a secret, a token or an Authorization header
// into an error or a log line.
//
// The files, in the order of a call:
//
//	genesys.go       ConnectionDetails and Source
//	options.go       Options and their check
//	client.go        Client: one call, with a new token if the API rejects the cached one
//	token.go         get and cache the token
//	requester.go     Requester: how requests are sent, without or with the Genesys SDK
//	answer.go        an answer, read completely, and its limits
//	details.go       from an answer to ConnectionDetails
//	integrations.go  the integrations with Amazon EventBridge, for --preflight
//	connection.go    the cure if a request got no answer
//	errors.go        RejectedError and TransientError
//	redact.go        texts of a server without secrets
//	wait.go          WaitForDetails: try again while the API is unavailable
//
// Package genesystest, in the folder genesystest, tests any Source.
package genesys

import (
	"context"
	"fmt"
	"io"
	"log/slog"
)

// ConnectionDetails says how to connect to Kafka. It is the part of the answer of
// GENESYS_EVENTBRIDGE_PATH that the consumer needs. Topics and SASLMechanism are
// empty if the answer has none. A printed or logged value shows every field except
// SASLPassword.
type ConnectionDetails struct {
	// BootstrapServers is a list of host:port, separated by commas without spaces.
	BootstrapServers string
	SASLMechanism    string
	SASLUsername     string
	SASLPassword     string
	Topics           []string
}

// Source reads the connection details. The Client of this package implements it,
// with or without the Genesys SDK (module genesyssdk).
type Source interface {
	// ConnectionDetails sends a new request to Genesys Cloud on each call. The error
	// is a *RejectedError if waiting cannot help. Every other error may be transient.
	ConnectionDetails(ctx context.Context) (ConnectionDetails, error)
}

// String describes the details without the password.
func (d ConnectionDetails) String() string {
	return fmt.Sprintf("bootstrap servers %s, mechanism %q, username %q, topics %q",
		d.BootstrapServers, d.SASLMechanism, d.SASLUsername, d.Topics)
}

// Format prints String for every verb, so that %+v and %#v do not show the password.
func (d ConnectionDetails) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, d.String()) }

// LogValue returns every field except the password for a log line.
func (d ConnectionDetails) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("bootstrap_servers", d.BootstrapServers),
		slog.String("sasl_mechanism", d.SASLMechanism),
		slog.String("sasl_username", d.SASLUsername),
		slog.Any("topics", d.Topics),
	)
}
