package ingest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"genesys-fanout/genesys"
	"genesys-fanout/ingest"
	"genesys-fanout/internal/preflight"
	"genesys-fanout/target"
)

// The names of the checks of the Genesys API. Other checks wait for them.
const (
	checkToken        = "genesys token"
	checkDetails      = "genesys connection details"
	checkIntegrations = "genesys integration"
)

// genesysChecks ask the Genesys API. A check that waits for another one uses its results.
type genesysChecks struct {
	source  genesys.Source
	client  string
	targets *target.Set
	// connection records the connection details and returns how ingest connects with them.
	connection func(genesys.ConnectionDetails) ingest.Connection

	read         genesys.ConnectionDetails
	readErr      error
	integrations []genesys.Integration
}

// twoRequests bounds the request for a token and the request that uses it. The source gives
// each of them 10 s.
const twoRequests = 21 * time.Second

// detailsChecks returns the checks of the token and of the connection details. A Source asks
// for both in one call, so the first check makes the call, and the second reports its result.
func (g *genesysChecks) detailsChecks() []preflight.Check {
	return []preflight.Check{
		{Name: checkToken, Bound: twoRequests, Run: func(ctx context.Context) []preflight.Result {
			g.read, g.readErr = g.source.ConnectionDetails(ctx)
			if g.readErr != nil && !isAPIError(g.readErr) {
				return []preflight.Result{genesysFailure(g.readErr)}
			}
			return []preflight.Result{preflight.Pass("issued to client %s", g.client)}
		}},
		{Name: checkDetails, After: []string{checkToken}, Run: func(context.Context) []preflight.Result {
			if g.readErr != nil {
				return []preflight.Result{genesysFailure(g.readErr)}
			}
			c := g.connection(g.read)
			return []preflight.Result{preflight.Pass("brokers %s, topics %s", c.BootstrapServers, strings.Join(c.Topics, ", "))}
		}},
	}
}

// isAPIError reports whether the error is an answer of the Genesys API. The source sends a
// request to the API only after it has a token.
func isAPIError(err error) bool {
	var rejected *genesys.RejectedError
	var transient *genesys.TransientError
	switch {
	case errors.As(err, &rejected):
		return strings.HasPrefix(rejected.Request, http.MethodGet+" ")
	case errors.As(err, &transient):
		return strings.HasPrefix(transient.Request, http.MethodGet+" ")
	}
	return false
}

// genesysFailure returns the result for an error of a Source, with its cure.
func genesysFailure(err error) preflight.Result {
	var rejected *genesys.RejectedError
	var transient *genesys.TransientError
	cure := "check that this machine reaches the hosts of GENESYS_API_URL and GENESYS_TOKEN_URL, and try again"
	switch {
	case errors.As(err, &rejected):
		cure = rejected.Cure
	case errors.As(err, &transient) && transient.Cure != "":
		cure = transient.Cure
	case errors.As(err, &transient) && transient.Status != 0:
		cure = "try again later, because Genesys Cloud is busy or has an outage"
	}
	return preflight.Fail(strings.TrimSuffix(err.Error(), "; "+cure), cure)
}

// integrationChecks returns the checks of the events that the organisation sends to Amazon
// EventBridge.
func (g *genesysChecks) integrationChecks(afterToken bool) []preflight.Check {
	var after []string
	if afterToken {
		after = []string{checkToken}
	}
	return []preflight.Check{
		{Name: checkIntegrations, After: after, Bound: twoRequests, Run: g.listIntegrations},
		{Name: "genesys topics", After: []string{checkIntegrations}, Run: func(context.Context) []preflight.Result {
			return []preflight.Result{g.unsentTopics()}
		}},
	}
}

func (g *genesysChecks) listIntegrations(ctx context.Context) []preflight.Result {
	source, ok := g.source.(genesys.IntegrationSource)
	if !ok {
		return []preflight.Result{preflight.Skip("this build's source of the connection details cannot list integrations")}
	}
	var err error
	if g.integrations, err = source.Integrations(ctx); err != nil {
		return []preflight.Result{genesysFailure(err)}
	}
	if len(g.integrations) == 0 {
		return []preflight.Result{preflight.Fail("there is no integration of type "+genesys.EventBridgeIntegration,
			"add the integration Amazon EventBridge Source in Genesys Cloud, of the organisation of GENESYS_CLIENT_ID")}
	}
	// If another integration is active, one may be switched off on purpose.
	anyActive := slices.ContainsFunc(g.integrations, genesys.Integration.Active)
	var results []preflight.Result
	for _, one := range g.integrations {
		results = append(results, integrationResult(one, anyActive))
	}
	return results
}

func integrationResult(i genesys.Integration, anyActive bool) preflight.Result {
	name := checkIntegrations + " " + i.Name
	detail := fmt.Sprintf("intended %s, reported %s, account %s, region %s, suffix %s, %d topics: %s",
		i.IntendedState, i.ReportedState, i.Account, i.Region, i.Suffix, len(i.Topics), strings.Join(i.Topics, ", "))
	if i.ReportedMessage != "" && !i.Active() {
		detail += " (" + i.ReportedMessage + ")"
	}
	status, cure := preflight.OK, ""
	switch {
	case i.Active():
	case i.IntendedState == "ENABLED":
		cure = "correct its account, region and suffix in Genesys Cloud, and accept the event source in that AWS account"
	default:
		cure = "switch the integration on in Genesys Cloud"
	}
	switch {
	case cure != "" && anyActive:
		status = preflight.Warning
	case cure != "":
		status = preflight.Failed
	}
	return preflight.Result{Check: name, Status: status, Detail: detail, Cure: cure}
}

// unsentTopics looks for topics that a target's when names but no integration sends.
func (g *genesysChecks) unsentTopics() preflight.Result {
	var sent []string
	for _, one := range g.integrations {
		if one.Active() {
			sent = append(sent, one.Topics...)
		}
	}
	var unsent []string
	for _, t := range g.targets.All() {
		if t.State == target.Retired {
			continue
		}
		for _, wanted := range t.EventTypes() {
			if isTopic(wanted.Text) && !isSent(wanted, sent) {
				unsent = append(unsent, fmt.Sprintf("%s (%s)", wanted.Text, t.Name()))
			}
		}
	}
	if len(unsent) == 0 {
		return preflight.Pass("every topic that the when of a target names is sent by an integration")
	}
	return preflight.Warn("no integration sends "+strings.Join(unsent, ", "),
		"add the topic to the integration in Genesys Cloud, or correct the target's when")
}

// isTopic reports whether an event type is a topic of Genesys Cloud. Types of events in other
// formats are not, because those events come from elsewhere.
func isTopic(eventType string) bool { return strings.HasPrefix(eventType, "v2.") }

// isSent reports whether an integration sends an event type. Both contain {id} literally. A
// topic with a * counts as every topic.
func isSent(wanted target.EventType, sent []string) bool {
	return slices.ContainsFunc(sent, func(topic string) bool {
		return strings.Contains(topic, "*") || topic == wanted.Text || wanted.Prefix && strings.HasPrefix(topic, wanted.Text)
	})
}
