// Package genesys asks Genesys Cloud where its events can be read: an OAuth
// token by client credentials, then the connection details of the Kafka
// cluster.
//
// The package refuses to retry beyond what its caller's context allows, to
// follow a redirect, and to name a secret, a token or an Authorization header
// in any error or log line.
package genesys

import (
	"context"
	"fmt"
	"io"
	"log/slog"
)

// ConnectionDetails is the part of the answer of GENESYS_EVENTBRIDGE_PATH that
// the consumer needs. Topics and SASLMechanism are empty when the answer holds
// none. Printed or logged, it shows everything but SASLPassword.
type ConnectionDetails struct {
	// BootstrapServers is a list of host:port with commas between, no spaces.
	BootstrapServers string
	SASLMechanism    string
	SASLUsername     string
	SASLPassword     string
	Topics           []string
}

// Source reads the connection details. Both this package's Client and the
// module genesyssdk implement it.
type Source interface {
	// ConnectionDetails asks Genesys Cloud anew. A refusal that no waiting
	// cures is a *Refusal; any other error may pass.
	ConnectionDetails(ctx context.Context) (ConnectionDetails, error)
}

// String describes the details without the password.
func (d ConnectionDetails) String() string {
	return fmt.Sprintf("bootstrap servers %s, mechanism %q, username %q, topics %q",
		d.BootstrapServers, d.SASLMechanism, d.SASLUsername, d.Topics)
}

// Format prints String for every verb, so that no %+v or %#v shows the password.
func (d ConnectionDetails) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, d.String()) }

// LogValue is what a log shows: everything but the password.
func (d ConnectionDetails) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("bootstrap_servers", d.BootstrapServers),
		slog.String("sasl_mechanism", d.SASLMechanism),
		slog.String("sasl_username", d.SASLUsername),
		slog.Any("topics", d.Topics),
	)
}
