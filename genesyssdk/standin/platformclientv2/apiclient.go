package platformclientv2

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// APIClient sends requests to the API.
type APIClient struct {
	client        AbstractHttpClient
	configuration *Configuration
}

// NewAPIClient makes a client for a Configuration. It keeps the HTTP client of the
// Configuration's current APIClient.
func NewAPIClient(c *Configuration) APIClient {
	return APIClient{client: c.APIClient.GetHttpClient(), configuration: c}
}

// GetHttpClient returns the HTTP client, and makes it first if there is none.
func (c *APIClient) GetHttpClient() AbstractHttpClient {
	if c.client == nil {
		c.client = newDefaultHTTPClient()
	}
	return c.client
}

// SetHttpClient replaces the HTTP client. The new one must be an AbstractHttpClient.
func (c *APIClient) SetHttpClient(client any) error {
	httpClient, ok := client.(AbstractHttpClient)
	if !ok {
		return errors.New("not an AbstractHttpClient")
	}
	c.client = httpClient
	return nil
}

// CallAPI sends one request; path is a full URL. The last three parameters, a file's
// name and content and a name for the path, have no effect here.
func (c *APIClient) CallAPI(path, method string, postBody any, headerParams, queryParams map[string]string, formParams url.Values,
	_ string, _ []byte, _ string,
) (*APIResponse, error) {
	address, _ := url.Parse(path) // the SDK ignores the error too
	if address != nil && len(queryParams) > 0 {
		query := address.Query()
		for name, value := range queryParams {
			query.Set(name, value)
		}
		address.RawQuery = query.Encode()
	}
	options := &HTTPRequestOptions{url: address, method: method, headers: map[string][]string{}, formParams: formParams, body: postBody}
	if len(formParams) > 0 {
		options.headers["Content-Type"] = []string{"application/x-www-form-urlencoded"}
	}
	for name, value := range headerParams {
		options.headers[name] = []string{value}
	}
	c.client.SetRetryMax(0)
	response, err := c.client.Do(options)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	body, _ := io.ReadAll(response.Body) // the SDK ignores this one too
	if _, sent := options.headers["Authorization"]; sent {
		options.headers["Authorization"] = []string{"[REDACTED]"}
	}
	callLog.Println(method, path, response.StatusCode, options.headers)
	return newAPIResponse(response, body)
}

// APIResponse is an answer of the API.
type APIResponse struct {
	Response      *http.Response
	RawBody       []byte
	IsSuccess     bool
	StatusCode    int
	Error         *APIError
	ErrorMessage  string
	CorrelationID string
	Header        map[string][]string
}

// APIError is the error body of the API.
type APIError struct {
	Message   string `json:"message"`
	Code      string `json:"code"`
	ContextID string `json:"contextId"`
}

func newAPIResponse(r *http.Response, body []byte) (*APIResponse, error) {
	response := &APIResponse{
		Response: r, RawBody: body, StatusCode: r.StatusCode, IsSuccess: r.StatusCode >= 200 && r.StatusCode <= 299,
		Header: r.Header, CorrelationID: r.Header.Get("ININ-Correlation-Id"),
	}
	if response.IsSuccess {
		return response, nil
	}
	var failure *APIError
	if err := json.Unmarshal(body, &failure); err != nil {
		return response, err
	}
	if failure.ContextID == "" { // panics if the body is null, as the SDK does
		failure.ContextID = response.CorrelationID
	}
	response.Error = failure
	response.ErrorMessage = fmt.Sprintf("API Error: %d - %s (%s)", response.StatusCode, failure.Message, response.CorrelationID)
	return response, errors.New(response.ErrorMessage)
}
