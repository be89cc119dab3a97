package genesys

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
)

// EventBridgeIntegration is the type of the integrations that send events to Amazon
// EventBridge.
const EventBridgeIntegration = "amazon-eventbridge-source"

// IntegrationSource lists the integrations through which the organisation sends its
// events. A Source may implement it too; the Client does.
type IntegrationSource interface {
	// Integrations returns the integrations of type EventBridgeIntegration. Its
	// errors are those of Source.
	Integrations(ctx context.Context) ([]Integration, error)
}

// Integration is an integration that sends events to Amazon EventBridge.
type Integration struct {
	ID, Name string
	// IntendedState is the state that an administrator chose: ENABLED, DISABLED or
	// DELETED.
	IntendedState string
	// ReportedState is the actual state: ACTIVE, ACTIVATING, INACTIVE, DEACTIVATING or
	// ERROR. ReportedMessage is Genesys Cloud's explanation of it, and may be empty.
	ReportedState, ReportedMessage string
	// Account, Region and Suffix identify the partner event source in AWS that gets
	// the events.
	Account, Region, Suffix string
	// Topics are the topics that it sends, such as
	// v2.detail.events.conversation.{id}.customer.start.
	Topics []string
}

// Active reports whether the integration sends events.
func (i Integration) Active() bool {
	return i.IntendedState == "ENABLED" && i.ReportedState == "ACTIVE"
}

const (
	integrationsPath = "/api/v2/integrations"

	// An organisation has a handful of integrations. maxPages ends the loop even if
	// a server always says that there is another page.
	integrationsPerPage = 100
	maxPages            = 50
)

// Integrations implements IntegrationSource.
func (c *Client) Integrations(ctx context.Context) ([]Integration, error) {
	var all []Integration
	for page := 1; page <= maxPages; page++ {
		address := *c.urls.integrations
		address.RawQuery = url.Values{
			"integrationType": {EventBridgeIntegration}, "expand": {"config.current"},
			"pageSize": {strconv.Itoa(integrationsPerPage)}, "pageNumber": {strconv.Itoa(page)},
		}.Encode()
		got, redact, err := c.get(ctx, &address)
		if err != nil {
			return nil, err
		}
		found, more, err := readIntegrations(got, requestName(http.MethodGet, &address), redact)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
		if !more {
			break
		}
	}
	return all, nil
}

// integrationsAnswer is one page of the list. Other fields are ignored.
type integrationsAnswer struct {
	Entities []struct {
		ID              string `json:"id"`
		Name            string `json:"name"`
		IntegrationType struct {
			ID string `json:"id"`
		} `json:"integrationType"`
		IntendedState string `json:"intendedState"`
		ReportedState struct {
			Code   string `json:"code"`
			Detail struct {
				Message string `json:"message"`
			} `json:"detail"`
		} `json:"reportedState"`
		Config struct {
			Current struct {
				Properties struct {
					Account string   `json:"awsAccountId"`
					Region  string   `json:"awsAccountRegion"`
					Suffix  string   `json:"eventSourceSuffix"`
					Topics  []string `json:"eventFilter"`
				} `json:"properties"`
			} `json:"current"`
		} `json:"config"`
	} `json:"entities"`
	NextURI string `json:"nextUri"`
}

// readIntegrations reads one page and reports whether another follows.
func readIntegrations(got *answer, request string, redact redactor) (found []Integration, more bool, err error) {
	if got.isTransient() {
		return nil, false, got.transient(request, redact)
	}
	var page integrationsAnswer
	rejected := got.rejection(request, redact)
	rejected.Cure = integrationsCure(got.status)
	switch {
	case !got.ok():
		return nil, false, rejected
	case got.truncated:
		rejected.Message = answerTooLong
		return nil, false, rejected
	}
	if err := json.Unmarshal(got.body, &page); err != nil {
		rejected.Message = jsonProblem(err)
		return nil, false, rejected
	}
	for _, one := range page.Entities {
		if one.IntegrationType.ID != EventBridgeIntegration {
			continue // the server ignored the parameter integrationType
		}
		properties := one.Config.Current.Properties
		integration := Integration{
			ID: redact.text(one.ID), Name: redact.text(one.Name), IntendedState: redact.text(one.IntendedState),
			ReportedState: redact.text(one.ReportedState.Code), ReportedMessage: redact.text(one.ReportedState.Detail.Message),
			Account: redact.text(properties.Account), Region: redact.text(properties.Region), Suffix: redact.text(properties.Suffix),
			Topics: slices.Clone(properties.Topics),
		}
		for i := range integration.Topics {
			integration.Topics[i] = redact.text(integration.Topics[i])
		}
		found = append(found, integration)
	}
	return found, page.NextURI != "", nil
}

// integrationsCure names the settings to check if the API rejected the list.
func integrationsCure(status int) string {
	const withoutCheck = ", or unset GENESYS_INTEGRATION_CHECK"
	switch status {
	case http.StatusUnauthorized:
		return wrongRegionCure
	case http.StatusForbidden:
		return "give the OAuth client in GENESYS_CLIENT_ID a role with the permission integrations:integration:view" + withoutCheck
	}
	return "check GENESYS_API_URL" + withoutCheck
}
