package genesys

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
)

// EventBridgeIntegration is the integration type that sends events to Amazon
// EventBridge.
const EventBridgeIntegration = "amazon-eventbridge-source"

// IntegrationSource is a Source that can also tell how the organisation sends its
// events. Client is one.
type IntegrationSource interface {
	// Integrations lists the integrations of type EventBridgeIntegration. Its errors
	// are those of Source.
	Integrations(ctx context.Context) ([]Integration, error)
}

// Integration is one that sends events to Amazon EventBridge.
type Integration struct {
	ID, Name string
	// IntendedState is what an administrator chose: ENABLED, DISABLED or DELETED.
	IntendedState string
	// ReportedState is what came of it: ACTIVE, ACTIVATING, INACTIVE, DEACTIVATING
	// or ERROR. ReportedMessage says more where Genesys Cloud does.
	ReportedState, ReportedMessage string
	// Account, Region and Suffix say where the events go.
	Account, Region, Suffix string
	// Topics are those that are sent, such as
	// v2.detail.events.conversation.{id}.customer.start.
	Topics []string
}

// Active tells whether the integration sends events.
func (i Integration) Active() bool {
	return i.IntendedState == "ENABLED" && i.ReportedState == "ACTIVE"
}

const (
	integrationsPath = "/api/v2/integrations"

	// integrationsPage is how many one answer may hold, and mostPages how many
	// answers are read: an organisation has a handful.
	integrationsPage = 100
	mostPages        = 50
)

// Integrations implements IntegrationSource.
func (c *Client) Integrations(ctx context.Context) ([]Integration, error) {
	var all []Integration
	for page := 1; page <= mostPages; page++ {
		address := *c.urls.integrations
		address.RawQuery = url.Values{
			"integrationType": {EventBridgeIntegration}, "expand": {"config.current"},
			"pageSize": {strconv.Itoa(integrationsPage)}, "pageNumber": {strconv.Itoa(page)},
		}.Encode()
		got, clean, err := c.get(ctx, &address)
		if err != nil {
			return nil, err
		}
		found, more, err := readIntegrations(got, requestName(http.MethodGet, &address), clean)
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

// integrationsAnswer is one page of the list. Other fields are left aside.
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

// readIntegrations reads one page and tells whether there are more.
func readIntegrations(got *answer, request string, clean redactor) (found []Integration, more bool, err error) {
	if got.passes() {
		return nil, false, got.temporary(request, clean)
	}
	var page integrationsAnswer
	refusal := got.refusal(request, clean)
	refusal.Cure = integrationsCure(got.status)
	switch {
	case !got.ok():
		return nil, false, refusal
	case got.overlong:
		refusal.Message = "the answer is longer than 1 MiB"
		return nil, false, refusal
	}
	if err := json.Unmarshal(got.body, &page); err != nil {
		refusal.Message = jsonFault(err)
		return nil, false, refusal
	}
	for _, one := range page.Entities {
		if one.IntegrationType.ID != EventBridgeIntegration {
			continue // where the question for one type was not heeded
		}
		properties := one.Config.Current.Properties
		integration := Integration{
			ID: clean.clean(one.ID), Name: clean.clean(one.Name), IntendedState: clean.clean(one.IntendedState),
			ReportedState: clean.clean(one.ReportedState.Code), ReportedMessage: clean.clean(one.ReportedState.Detail.Message),
			Account: clean.clean(properties.Account), Region: clean.clean(properties.Region), Suffix: clean.clean(properties.Suffix),
			Topics: slices.Clone(properties.Topics),
		}
		for i := range integration.Topics {
			integration.Topics[i] = clean.clean(integration.Topics[i])
		}
		found = append(found, integration)
	}
	return found, page.NextURI != "", nil
}

// integrationsCure names what the refused request depends on.
func integrationsCure(status int) string {
	const without = ", or unset GENESYS_INTEGRATION_CHECK"
	switch status {
	case http.StatusUnauthorized:
		return "check that GENESYS_API_URL and GENESYS_TOKEN_URL are of the region of GENESYS_CLIENT_ID"
	case http.StatusForbidden:
		return "give the OAuth client of GENESYS_CLIENT_ID a role with the permission integrations:integration:view" + without
	}
	return "check GENESYS_API_URL" + without
}
