package genesyssdk

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/mypurecloud/platform-client-sdk-go/v188/platformclientv2"
)

// defaults are the SDK's without any file: with an empty path it reads none and
// watches none. They are made once, since making them writes to variables of
// the SDK's package that its calls read.
var defaults = sync.OnceValue(func() *platformclientv2.Configuration {
	config := platformclientv2.NewConfigurationWithConfigFile("", false)
	config.AutomaticTokenRefresh = false // it panics where a refresh fails
	return config
})

// configuration is one for a single call, which sends through the client. The
// SDK writes to it and to its HTTP client on every call.
func configuration(client *httpClient) (*platformclientv2.Configuration, error) {
	config := *defaults()
	config.APIClient = platformclientv2.APIClient{} // without it, the copies would share one HTTP client
	config.APIClient = platformclientv2.NewAPIClient(&config)
	client.AbstractHttpClient = config.APIClient.GetHttpClient()
	return &config, config.APIClient.SetHttpClient(client)
}

// httpClient sends the SDK's requests. The SDK's own client takes no context,
// follows redirects, and makes of a 429 or 5xx the error "giving up after 1
// attempt(s)", without the answer and its Retry-After. This one is the genesys
// Client's, which sees every answer.
type httpClient struct {
	// What the SDK sets on its client, such as retries, has no effect here.
	platformclientv2.AbstractHttpClient

	ctx    context.Context // of the one call that this client serves
	client *http.Client
	// address is what is asked, whatever the SDK derives: from BasePath it
	// takes only a path /oauth/token, and a host that does not begin with api.
	address string
	// scope is sent with a token request, which the SDK has no place for.
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
