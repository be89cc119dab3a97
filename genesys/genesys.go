// Package genesys asks Genesys Cloud where its events can be read: an OAuth
// token by client credentials, then the connection details of the Kafka
// cluster.
//
// The package refuses to retry beyond what its caller's context allows and to
// name a secret, a token or an Authorization header in any error or log line.
package genesys

import "context"

// ConnectionDetails is the part of the answer of GENESYS_EVENTBRIDGE_PATH that
// the consumer needs. Topics and SASLMechanism are empty when the answer holds none.
type ConnectionDetails struct {
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
