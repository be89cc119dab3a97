package genesystest

import (
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"genesys-fanout/genesys"
)

const twoIntegrations = `{"entities":[
	{"id":"1","name":"events","integrationType":{"id":"amazon-eventbridge-source"},"intendedState":"ENABLED","reportedState":{"code":"ACTIVE"},
	 "config":{"current":{"properties":{"awsAccountId":"123456789012","awsAccountRegion":"eu-west-1","eventSourceSuffix":"fanout","eventFilter":["v2.a","v2.b"]}}}},
	{"id":"2","name":"another","integrationType":{"id":"purecloud-data-actions"},"intendedState":"ENABLED"}],"pageNumber":1%s}`

// testIntegrations checks a Source that is an IntegrationSource too. It skips any
// other Source.
func testIntegrations(t *testing.T, newSource NewSource) {
	if _, ok := newSource.withTransport(t, &fakeCloud{}).(genesys.IntegrationSource); !ok {
		return
	}
	t.Run("integrations: every page is read", func(t *testing.T) { testIntegrationPages(t, newSource) })
	t.Run("integrations: a rejection names the cure", func(t *testing.T) { testRejectedIntegrations(t, newSource) })
}

func listIntegrations(t *testing.T, source genesys.Source) ([]genesys.Integration, error) {
	t.Helper()
	lister, ok := source.(genesys.IntegrationSource)
	require.True(t, ok)
	return lister.Integrations(t.Context())
}

// testIntegrationPages checks that every page is read, and that integrations of
// another type are left out.
func testIntegrationPages(t *testing.T, newSource NewSource) {
	var asked []string
	c := &fakeCloud{onDetails: func(n int32, r *http.Request) (*http.Response, error) {
		asked = append(asked, r.Method+" "+r.URL.Path+"?"+r.URL.RawQuery)
		switch n {
		case 1:
			return respond(200, fmt.Sprintf(twoIntegrations, `,"nextUri":"/api/v2/integrations?pageNumber=2"`)), nil
		case 2: // the token was revoked meanwhile
			return respond(401, `{}`), nil
		}
		return respond(200, `{"entities":[{"name":"off","integrationType":{"id":"amazon-eventbridge-source"},"intendedState":"DISABLED",
			"reportedState":{"code":"INACTIVE","detail":{"message":"switched off"}}}]}`), nil
	}}
	source := newSource.withTransport(t, c, func(o *genesys.Options) { o.APIURL = "https://api.mypurecloud.ie/prefix/" })
	got, err := listIntegrations(t, source)
	require.NoError(t, err)
	assert.Equal(t, []genesys.Integration{
		{ID: "1", Name: "events", IntendedState: "ENABLED", ReportedState: "ACTIVE", Account: "123456789012", Region: "eu-west-1", Suffix: "fanout", Topics: []string{"v2.a", "v2.b"}},
		{Name: "off", IntendedState: "DISABLED", ReportedState: "INACTIVE", ReportedMessage: "switched off"},
	}, got)
	assert.True(t, got[0].Active())
	assert.False(t, got[1].Active())
	page := "GET /prefix/api/v2/integrations?expand=config.current&integrationType=amazon-eventbridge-source&pageNumber=%d&pageSize=100"
	assert.Equal(t, []string{fmt.Sprintf(page, 1), fmt.Sprintf(page, 2), fmt.Sprintf(page, 2)}, asked)
	assert.EqualValues(t, 2, c.tokenRequests.Load())
}

// testRejectedIntegrations checks that an error names the request and the cure, and
// shows no secret.
func testRejectedIntegrations(t *testing.T, newSource NewSource) {
	for name, test := range map[string]struct {
		status   int
		body     string
		contains []string
	}{
		"role":       {403, `{"message":"No permission","code":"missing.permission","contextId":"ctx-1"}`, []string{"403", "missing.permission", "ctx-1", "integrations:integration:view"}},
		"region":     {401, `{}`, []string{"401", "region", "GENESYS_API_URL"}},
		"not found":  {404, `{}`, []string{"404", "GENESYS_API_URL"}},
		"redirect":   {302, ``, []string{"302", "redirects are not followed"}},
		"not JSON":   {200, `<html>`, []string{"JSON"}},
		"wrong type": {200, `{"entities":[{"name":7}]}`, []string{"wrong JSON type"}},
		"echo":       {400, EchoBody(), []string{"400"}},
		"busy":       {429, EchoBody(), []string{"429"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := &fakeCloud{onDetails: func(int32, *http.Request) (*http.Response, error) { return respond(test.status, test.body), nil }}
			_, err := listIntegrations(t, newSource.withTransport(t, c))
			for _, part := range append(test.contains, "GET /api/v2/integrations") {
				require.ErrorContains(t, err, part)
			}
			assert.Equal(t, test.status != 429, errors.As(err, new(*genesys.RejectedError)))
			AssertNoSecret(t, err.Error())
		})
	}
}
