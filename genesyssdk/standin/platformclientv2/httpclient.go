package platformclientv2

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// AbstractHttpClient sends the requests of an APIClient. It lacks the methods of the
// SDK's interface that have types of github.com/hashicorp/go-retryablehttp.
type AbstractHttpClient interface {
	Do(options *HTTPRequestOptions) (*http.Response, error)
	SetRetryMax(most int)
	SetRetryWaitMax(duration time.Duration)
	SetRetryWaitMin(duration time.Duration)
	SetTransport(transport *http.Transport)
}

// HTTPRequestOptions are the parts of a request that an AbstractHttpClient sends.
type HTTPRequestOptions struct {
	url        *url.URL
	method     string
	headers    map[string][]string
	body       any
	formParams url.Values
}

// GetUrl returns the address.
func (o *HTTPRequestOptions) GetUrl() *url.URL { return o.url }

// GetMethod returns the method.
func (o *HTTPRequestOptions) GetMethod() string { return o.method }

// GetHeaders returns the header, with its names as the caller wrote them.
func (o *HTTPRequestOptions) GetHeaders() map[string][]string { return o.headers }

// GetBody returns the value that is sent as JSON, or nil.
func (o *HTTPRequestOptions) GetBody() any { return o.body }

// GetFormParams returns the values that are sent as a form.
func (o *HTTPRequestOptions) GetFormParams() url.Values { return o.formParams }

// defaultHTTPClient is the AbstractHttpClient of an APIClient that was given none.
type defaultHTTPClient struct {
	http     *http.Client
	retryMax int
	waits    [2]time.Duration
}

func newDefaultHTTPClient() *defaultHTTPClient {
	return &defaultHTTPClient{http: &http.Client{Timeout: 16 * time.Second}}
}

func (c *defaultHTTPClient) SetRetryMax(most int)               { c.retryMax = most }
func (c *defaultHTTPClient) SetRetryWaitMin(wait time.Duration) { c.waits[0] = wait }
func (c *defaultHTTPClient) SetRetryWaitMax(wait time.Duration) { c.waits[1] = wait }
func (c *defaultHTTPClient) SetTransport(t *http.Transport)     { c.http.Transport = t }

// Do sends the request once.
func (c *defaultHTTPClient) Do(options *HTTPRequestOptions) (*http.Response, error) {
	if options.url == nil {
		return nil, errors.New("URL is required")
	}
	var body io.Reader
	switch {
	case len(options.formParams) > 0:
		body = strings.NewReader(options.formParams.Encode())
	case options.body != nil:
		encoded, err := json.Marshal(options.body)
		if err != nil {
			return nil, err
		}
		body = strings.NewReader(string(encoded))
	}
	request, err := http.NewRequest(options.method, options.url.String(), body) //nolint:noctx // the SDK sets none
	if err != nil {
		return nil, err
	}
	request.Header = options.headers
	request.Close = true
	response, err := c.http.Do(request)
	if err != nil {
		return nil, fmt.Errorf("%s %s giving up after 1 attempt(s): %w", options.method, options.url, err)
	}
	if status := response.StatusCode; status == http.StatusTooManyRequests || (status >= 500 && status != http.StatusNotImplemented) {
		_ = response.Body.Close()
		return nil, fmt.Errorf("%s %s giving up after 1 attempt(s)", options.method, options.url)
	}
	return response, nil
}
