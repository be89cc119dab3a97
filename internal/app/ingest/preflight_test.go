package ingest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"genesys-fanout/genesys"
	"genesys-fanout/ingest"
	"genesys-fanout/internal/preflight"
	"genesys-fanout/target"
)

// detailsOnly is a source that cannot list integrations.
type detailsOnly func() (genesys.ConnectionDetails, error)

func (d detailsOnly) ConnectionDetails(context.Context) (genesys.ConnectionDetails, error) {
	return d()
}

func statuses(results []preflight.Result) map[string]preflight.Status {
	all := make(map[string]preflight.Status)
	for _, r := range results {
		all[r.Check] = r.Status
	}
	return all
}

func TestGenesysChecks_SkipIntegrationsThatTheSourceCannotList(t *testing.T) {
	g := &genesysChecks{source: detailsOnly(func() (genesys.ConnectionDetails, error) {
		return genesys.ConnectionDetails{BootstrapServers: "b:1", SASLPassword: "hush"}, nil
	}), connection: func(d genesys.ConnectionDetails) ingest.Connection {
		return ingest.Connection{BootstrapServers: d.BootstrapServers, SASLPassword: d.SASLPassword}
	}}
	results := preflight.Run(t.Context(), append(g.detailsChecks(), g.integrationChecks(true)...), func(preflight.Result) {})
	assert.Equal(t, map[string]preflight.Status{
		checkToken: preflight.OK, checkDetails: preflight.OK, checkIntegrations: preflight.Skipped, "genesys topics": preflight.Skipped,
	}, statuses(results))
	require.NoError(t, preflight.FailedChecks(t.Context(), results))
	for _, r := range results {
		assert.NotContains(t, r.Detail, "hush")
	}
}

func TestGenesysChecks_DistinguishErrorsOfTokenAndDetails(t *testing.T) {
	for name, test := range map[string]struct {
		err            error
		token, details preflight.Status
	}{
		"token rejected":   {&genesys.RejectedError{Request: "POST /oauth/token", Status: 401, Cure: "c"}, preflight.Failed, preflight.Skipped},
		"token busy":       {&genesys.TransientError{Request: "POST /oauth/token", Status: 429}, preflight.Failed, preflight.Skipped},
		"details rejected": {&genesys.RejectedError{Request: "GET /api", Status: 403, Cure: "c"}, preflight.OK, preflight.Failed},
		"details busy":     {&genesys.TransientError{Request: "GET /api", Status: 503}, preflight.OK, preflight.Failed},
		"out of time":      {errors.New("genesys: POST /oauth/token: context deadline exceeded"), preflight.Failed, preflight.Skipped},
	} {
		t.Run(name, func(t *testing.T) {
			g := &genesysChecks{source: detailsOnly(func() (genesys.ConnectionDetails, error) { return genesys.ConnectionDetails{}, test.err })}
			results := preflight.Run(t.Context(), g.detailsChecks(), func(preflight.Result) {})
			assert.Equal(t, map[string]preflight.Status{checkToken: test.token, checkDetails: test.details}, statuses(results))
			for _, r := range results {
				assert.Equal(t, r.Status == preflight.Failed, r.Cure != "", r)
			}
		})
	}
}

// There is no warning if it is unknown whether a topic is sent.
func TestGenesysChecks_WarnOfTopicsThatNoIntegrationSends(t *testing.T) {
	const sent = "v2.detail.events.conversation.{id}.customer.start"
	active := genesys.Integration{IntendedState: "ENABLED", ReportedState: "ACTIVE", Topics: []string{sent}}
	for when, warned := range map[string]bool{
		`event.type == "` + sent + `"`:                                                    false,
		`event.type == "v2.detail.events.conversation.customer.start"`:                    true, // without {id}
		`event.type.startsWith("v2.detail.events.conversation.")`:                         false,
		`event.type.startsWith("v2.detail.events.user.")`:                                 true,
		`event.type.startsWith("v2.detail.events.conversation.{id}.customer.start.more")`: true,
		`event.type == "conversation.started"`:                                            false, // of another format
		`event.type != "v2.detail.events.user"`:                                           false,
		`event.channel_type == "voice"`:                                                   false,
	} {
		set, err := target.Parse("targets.yaml", fmt.Appendf(nil, `
targets:
  - name: a
    url: http://127.0.0.1:1
    when: '%s'
`, when), nil)
		require.NoError(t, err, when)
		g := &genesysChecks{targets: set, integrations: []genesys.Integration{active, {IntendedState: "DISABLED", Topics: []string{"v2.detail.events.user.x"}}}}
		result := g.unsentTopics()
		assert.Equal(t, warned, result.Status == preflight.Warning, "%s: %v", when, result)
		g.integrations = []genesys.Integration{{IntendedState: "ENABLED", ReportedState: "ACTIVE", Topics: []string{"v2.*"}}}
		assert.Equal(t, preflight.OK, g.unsentTopics().Status, when)
	}
}

// If KAFKA_OPTIONS has TLS settings that only librdkafka applies, a failed handshake is only a
// warning.
func TestKafkaChecks_WarnOfTLSIfKafkaOptionsHasFurtherSettings(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	address := server.Listener.Addr().String()
	for option, want := range map[string]preflight.Status{"": preflight.Failed, "enable.ssl.certificate.verification": preflight.Warning} {
		k := &kafkaChecks{
			settings:   &settings{KafkaBootstrapServers: address},
			connection: ingest.Connection{BootstrapServers: " " + address + " ", SecurityProtocol: "SSL", Extra: map[string]string{option: "false"}},
		}
		results := k.reachBrokers(t.Context())
		require.Len(t, results, 1)
		assert.Equal(t, want, results[0].Status, results)
		assert.Equal(t, checkBroker+" "+address, results[0].Check)
		assert.Equal(t, option != "", strings.Contains(results[0].Detail, option+" of KAFKA_OPTIONS"), results)
	}
	k := &kafkaChecks{settings: &settings{}, connection: ingest.Connection{BootstrapServers: address, SecurityProtocol: "SSL", CALocation: "/no/such/file"}}
	result := k.reachBrokers(t.Context())[0]
	assert.Equal(t, preflight.Failed, result.Status)
	assert.Contains(t, result.Cure, "KAFKA_SSL_CA_LOCATION")
}
