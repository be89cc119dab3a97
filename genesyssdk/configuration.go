package genesyssdk

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/mypurecloud/platform-client-sdk-go/v188/platformclientv2"
)

// defaultConfiguration returns the SDK's configuration without any file: with an empty
// path, the SDK reads no file and watches none. It is made only once, because making
// one writes to package variables of the SDK that every call reads.
var defaultConfiguration = sync.OnceValue(func() *platformclientv2.Configuration {
	config := platformclientv2.NewConfigurationWithConfigFile("", false)
	config.AutomaticTokenRefresh = false // the SDK panics if a refresh fails
	return config
})

// configurationFor returns a configuration for a single call, which sends its request
// through the client. No two calls share one, because the SDK writes to the
// configuration and to its HTTP client on every call.
func configurationFor(client *httpClient) (*platformclientv2.Configuration, error) {
	config := *defaultConfiguration()
	config.APIClient = platformclientv2.APIClient{} // otherwise the copies would share one HTTP client
	config.APIClient = platformclientv2.NewAPIClient(&config)
	client.AbstractHttpClient = config.APIClient.GetHttpClient()
	return &config, config.APIClient.SetHttpClient(client)
}

// httpClient sends the SDK's requests through the HTTP client of the genesys.Client,
// which sees every answer. It replaces the SDK's own client because that one has no
// context, follows redirects, and turns a 429 or 5xx into the error "giving up after 1
// attempt(s)", which loses the answer and its Retry-After.
type httpClient struct {
	// It only receives what the SDK sets on its client, such as retries. That has no
	// effect here.
	platformclientv2.AbstractHttpClient

	ctx    context.Context // that of the single call that uses this client
	client *http.Client
	// address is the address of the request. It replaces the one that the SDK derives
	// from BasePath, because that one always has the path /oauth/token, and a host that
	// does not begin with api.
	address string
	// scope is added to a token request, because the SDK has no field for it.
	scope string
}

// Do implements platformclientv2.AbstractHttpClient.
func (c *httpClient) Do(options *platformclientv2.HTTPRequestOptions) (*http.Response, error) {
	var body io.Reader
	if form := options.GetFormParams(); len(form) > 0 {
		if c.scope != "" {
			form.Set("scope", strings.Join(strings.Fields(c.scope), " "))
		}
		body = strings.NewReader(form.Encode())
	}
	request, err := http.NewRequestWithContext(c.ctx, options.GetMethod(), c.address, body)
	if err != nil {
		return nil, err
	}
	for name, values := range options.GetHeaders() {
		request.Header[http.CanonicalHeaderKey(name)] = values
	}
	return c.client.Do(request)
}
