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

// The checks of the Genesys API, by the names that others wait for.
const (
	checkToken        = "genesys token"
	checkDetails      = "genesys connection details"
	checkIntegrations = "genesys integration"
)

// genesysChecks ask the Genesys API. A check that stands After another reads what
// that one has found.
type genesysChecks struct {
	source  genesys.Source
	client  string
	targets *target.Set
	// found takes the connection details and gives what ingest makes of them.
	found func(genesys.ConnectionDetails) ingest.Connection

	read    genesys.ConnectionDetails
	readErr error
	listed  []genesys.Integration
}

// bothRequests is for a token and for what is asked with it: each may take the 10 s
// that the source gives a request.
const bothRequests = 21 * time.Second

// details are the checks of token and connection details. A Source asks for both
// at once, so the first check does, and the second tells what came of it.
func (g *genesysChecks) details() []preflight.Check {
	return []preflight.Check{
		{Name: checkToken, Bound: bothRequests, Run: func(ctx context.Context) []preflight.Result {
			g.read, g.readErr = g.source.ConnectionDetails(ctx)
			if g.readErr != nil && !answeredAPI(g.readErr) {
				return []preflight.Result{genesysRefused(g.readErr)}
			}
			return []preflight.Result{preflight.Pass("issued to client %s", g.client)}
		}},
		{Name: checkDetails, After: []string{checkToken}, Run: func(context.Context) []preflight.Result {
			if g.readErr != nil {
				return []preflight.Result{genesysRefused(g.readErr)}
			}
			c := g.found(g.read)
			return []preflight.Result{preflight.Pass("brokers %s, topics %s", c.BootstrapServers, strings.Join(c.Topics, ", "))}
		}},
	}
}

// answeredAPI tells whether it was the API that refused or failed, for which a
// token was needed.
func answeredAPI(err error) bool {
	var refusal *genesys.RejectedError
	var temporary *genesys.TransientError
	switch {
	case errors.As(err, &refusal):
		return strings.HasPrefix(refusal.Request, http.MethodGet+" ")
	case errors.As(err, &temporary):
		return strings.HasPrefix(temporary.Request, http.MethodGet+" ")
	}
	return false
}

// genesysRefused takes an error of a Source apart: what came back, and the cure.
func genesysRefused(err error) preflight.Result {
	var refusal *genesys.RejectedError
	var temporary *genesys.TransientError
	cure := "see that this machine reaches the hosts of GENESYS_API_URL and GENESYS_TOKEN_URL, and try again"
	switch {
	case errors.As(err, &refusal):
		cure = refusal.Cure
	case errors.As(err, &temporary) && temporary.Cure != "":
		cure = temporary.Cure
	case errors.As(err, &temporary) && temporary.Status != 0:
		cure = "try again later: Genesys Cloud is busy, or in trouble"
	}
	return preflight.Fail(strings.TrimSuffix(err.Error(), "; "+cure), cure)
}

// integrations are the checks of what the organisation sends to Amazon
// EventBridge.
func (g *genesysChecks) integrations(afterToken bool) []preflight.Check {
	var after []string
	if afterToken {
		after = []string{checkToken}
	}
	return []preflight.Check{
		{Name: checkIntegrations, After: after, Bound: bothRequests, Run: g.listIntegrations},
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
	if g.listed, err = source.Integrations(ctx); err != nil {
		return []preflight.Result{genesysRefused(err)}
	}
	if len(g.listed) == 0 {
		return []preflight.Result{preflight.Fail("there is none of type "+genesys.EventBridgeIntegration,
			"add the integration Amazon EventBridge Source in Genesys Cloud, of the organisation of GENESYS_CLIENT_ID")}
	}
	// One that was switched off beside another that works may be so on purpose.
	works := slices.ContainsFunc(g.listed, genesys.Integration.Active)
	var results []preflight.Result
	for _, one := range g.listed {
		results = append(results, integrationResult(one, works))
	}
	return results
}

func integrationResult(i genesys.Integration, anotherWorks bool) preflight.Result {
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
	case cure != "" && anotherWorks:
		status = preflight.Warning
	case cure != "":
		status = preflight.Failed
	}
	return preflight.Result{Check: name, Status: status, Detail: detail, Cure: cure}
}

// unsentTopics looks for topics that a target asks for and no integration sends.
func (g *genesysChecks) unsentTopics() preflight.Result {
	var sent []string
	for _, one := range g.listed {
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
		return preflight.Pass("no target asks for a topic that is not sent, as far as its when tells")
	}
	return preflight.Warn("no integration sends "+strings.Join(unsent, ", "),
		"add the topic to the integration in Genesys Cloud, or correct the target's when")
}

// isTopic leaves out the types of events in other formats, which come from
// elsewhere.
func isTopic(eventType string) bool { return strings.HasPrefix(eventType, "v2.") }

// isSent compares a type with the topics of the integrations; in both, {id} stands
// as it is. A topic with a * is taken for any.
func isSent(wanted target.EventType, sent []string) bool {
	return slices.ContainsFunc(sent, func(topic string) bool {
		return strings.Contains(topic, "*") || topic == wanted.Text || wanted.Prefix && strings.HasPrefix(topic, wanted.Text)
	})
}
