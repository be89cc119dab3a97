// Package genesystest checks the behaviour that every genesys.Source must have. A table
// of answers is checked with a scripted server on loopback; behaviour that depends on
// time is checked with a network without sockets.
//
// The package does not check what only one implementation can do.
package genesystest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"genesys-fanout/genesys"
)

// The credentials of the scripted server. No error and no log may show the last three.
const (
	ClientID     = "5e0b1c62-client"
	ClientSecret = `s3cr3t+/"<client>&%`
	AccessToken  = "t0ken-abcdefghijklmnop"
	SASLPassword = "pa55-word-of-kafka"
)

// The bodies of a server that grants every request.
const (
	GrantedToken   = `{"access_token":"` + AccessToken + `","token_type":"bearer","expires_in":86400}`
	GrantedDetails = `{"connectionDetails":{"bootstrapServers":"h1:9094, h2:9094","saslMechanism":"SCRAM-SHA-512","saslUsername":"user","saslPassword":"` +
		SASLPassword + `"},"topics":["genesys-cloud-interaction-events"]}`
)

// Answer is the scripted server's answer to a request. An Answer without a status
// grants the request.
type Answer struct {
	Status int
	Header http.Header
	Body   string
}

func (a Answer) write(w http.ResponseWriter) {
	maps.Copy(w.Header(), a.Header)
	if w.Header().Get("Content-Type") == "" {
		w.Header().Set("Content-Type", "application/json")
	}
	w.WriteHeader(a.Status)
	_, _ = w.Write([]byte(a.Body))
}

// EchoBody is an error body that repeats every secret, plain and encoded, in every
// field that an error may quote.
func EchoBody() string {
	all := strings.Join(secretForms(), " ")
	return fmt.Sprintf(`{"message":%[1]q,"code":%[1]q,"contextId":%[1]q,"error":%[1]q,"error_description":%[1]q,"access_token":%[2]q,`+
		`"connectionDetails":{"saslPassword":%[3]q}}`, all, AccessToken, SASLPassword)
}

// secretForms returns the secrets in every form in which a server may repeat them.
func secretForms() []string {
	quoted := strconv.Quote(ClientSecret)
	inJSON, _ := json.Marshal(ClientSecret)
	return []string{
		ClientSecret,
		quoted[1 : len(quoted)-1],         // in Go, and in the JSON of most languages
		string(inJSON[1 : len(inJSON)-1]), // in Go's JSON
		html.EscapeString(ClientSecret),
		url.QueryEscape(ClientSecret),
		url.PathEscape(ClientSecret),
		base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(ClientID) + ":" + url.QueryEscape(ClientSecret))),
		AccessToken,
		SASLPassword,
	}
}

// AssertNoSecret fails the test if a text contains one of the scripted server's secrets.
func AssertNoSecret(t *testing.T, text string) {
	t.Helper()
	for _, form := range append(secretForms(), "Authorization") {
		assert.NotContains(t, text, form)
	}
}

// answerCase is a pair of answers, and the error that must follow from them.
type answerCase struct {
	name     string
	token    Answer
	details  Answer
	rejected string   // the request that is rejected; empty if the failure is transient
	code     string   // RejectedError.Code; any if empty
	contains []string // parts of the error text
}

// granted is an answer with status 200.
func granted(body string) Answer { return Answer{Status: http.StatusOK, Body: body} }

const (
	tokenRequest   = "POST /oauth/token"
	detailsRequest = "GET /api/v2/eventbridge"
)

func answerCases() []answerCase {
	genesysError := `{"message":"No permission","code":"missing.permission","status":403,"contextId":"ctx-1"}`
	table := []answerCase{
		{name: "token: bad client", token: Answer{Status: 401, Body: `{"error":"invalid_client","description":"client not found"}`}, rejected: tokenRequest, code: "invalid_client", contains: []string{"401", "GENESYS_CLIENT_SECRET"}},
		{name: "token: without access_token", token: granted(`{"token_type":"bearer","expires_in":60}`), rejected: tokenRequest, contains: []string{"access_token"}},
		{name: "token: not JSON", token: granted(`<html>`), rejected: tokenRequest, contains: []string{"JSON"}},
		{name: "details: 403", details: Answer{Status: 403, Body: genesysError}, rejected: detailsRequest, code: "missing.permission", contains: []string{"ctx-1", "role", "403"}},
		{name: "details: not JSON", details: granted(`<html>`), rejected: detailsRequest, contains: []string{"JSON"}},
		{name: "details: an array", details: granted(`[]`), rejected: detailsRequest, contains: []string{"JSON object"}},
		{name: "details: empty", details: Answer{Status: 204}, rejected: detailsRequest, contains: []string{"JSON"}},
		{name: "details: no fields", details: granted(`{}`), rejected: detailsRequest, contains: []string{"connectionDetails.bootstrapServers", "connectionDetails.saslUsername", "connectionDetails.saslPassword"}},
		{name: "details: password of the wrong type", details: granted(`{"connectionDetails":{"bootstrapServers":"h:1","saslUsername":"u","saslPassword":55555}}`), rejected: detailsRequest, contains: []string{"connectionDetails.saslPassword"}},
		{name: "details: topic is a pattern", details: granted(`{"connectionDetails":{"bootstrapServers":"h:1","saslUsername":"u","saslPassword":"p4ss"},"topics":["a","^.*"]}`), rejected: detailsRequest, contains: []string{"topics[1]"}},
	}
	for _, status := range []int{400, 403, 404, 405, 301, 302, 307, 308} {
		table = append(table, answerCase{name: fmt.Sprintf("token: %d", status), token: Answer{Status: status, Header: http.Header{"Location": {"/elsewhere"}}, Body: `{}`}, rejected: tokenRequest, contains: []string{fmt.Sprint(status), "GENESYS_"}})
	}
	for _, status := range []int{400, 401, 404, 405, 410, 422, 301, 302, 307, 308} {
		table = append(table, answerCase{name: fmt.Sprintf("details: %d", status), details: Answer{Status: status, Header: http.Header{"Location": {"/elsewhere"}}, Body: `{}`}, rejected: detailsRequest, contains: []string{fmt.Sprint(status), "GENESYS_"}})
	}
	for _, servers := range []string{"h1", "h1:", ":9094", "h1:0", "h1:65536", "h1:x", "h1:9094,", "SASL_SSL://h1:9094", "h 1:9094", "h1:9094;h2:9094"} {
		body := fmt.Sprintf(`{"connectionDetails":{"bootstrapServers":%q,"saslUsername":"u","saslPassword":"p4ss"}}`, servers)
		table = append(table, answerCase{name: "details: bootstrapServers " + servers, details: granted(body), rejected: detailsRequest, contains: []string{"connectionDetails.bootstrapServers", "host:port"}})
	}
	for _, status := range []int{408, 429, 500, 502, 503, 504} {
		table = append(table,
			answerCase{name: fmt.Sprintf("token: %d", status), token: Answer{Status: status, Body: `{}`}},
			answerCase{name: fmt.Sprintf("details: %d", status), details: Answer{Status: status, Body: `{}`}})
	}
	// null is valid JSON but not an object: a pointer that it is decoded into is nil.
	for _, status := range []int{200, 400, 401, 403, 404} {
		table = append(table,
			answerCase{name: fmt.Sprintf("token: %d null", status), token: Answer{Status: status, Body: `null`}, rejected: tokenRequest, contains: []string{fmt.Sprint(status), "GENESYS_"}},
			answerCase{name: fmt.Sprintf("details: %d null", status), details: Answer{Status: status, Body: `null`}, rejected: detailsRequest, contains: []string{fmt.Sprint(status), "GENESYS_"}})
	}
	for _, status := range []int{429, 500, 501} {
		table = append(table,
			answerCase{name: fmt.Sprintf("token: %d null", status), token: Answer{Status: status, Body: `null`}},
			answerCase{name: fmt.Sprintf("details: %d null", status), details: Answer{Status: status, Body: `null`}})
	}
	echo := func(status int) Answer {
		all := ClientSecret + " " + AccessToken + " " + SASLPassword
		return Answer{Status: status, Header: http.Header{"Inin-Correlation-Id": {all}, "Location": {"/?" + url.QueryEscape(all)}}, Body: EchoBody()}
	}
	for _, status := range []int{200, 302, 400, 401, 403, 404} {
		table = append(table,
			answerCase{name: fmt.Sprintf("token: %d that echoes the secrets", status), token: echo(status), rejected: tokenRequest},
			answerCase{name: fmt.Sprintf("details: %d that echoes the secrets", status), details: echo(status), rejected: detailsRequest})
	}
	for _, status := range []int{429, 500, 503} {
		table = append(table,
			answerCase{name: fmt.Sprintf("token: %d that echoes the secrets", status), token: echo(status)},
			answerCase{name: fmt.Sprintf("details: %d that echoes the secrets", status), details: echo(status)})
	}
	return append(table, answerCase{
		name:     "details: bootstrapServers is the password",
		details:  granted(fmt.Sprintf(`{"connectionDetails":{"bootstrapServers":%[1]q,"saslUsername":"u","saslPassword":%[1]q}}`, SASLPassword)),
		rejected: detailsRequest, contains: []string{"connectionDetails.bootstrapServers"},
	})
}

// NewServer starts a scripted Genesys Cloud on loopback. It checks the credentials and
// the token, and then sends the given answers. A request to any other path fails the
// test.
func NewServer(t *testing.T, token, details Answer) *httptest.Server {
	t.Helper()
	if token.Status == 0 {
		token = granted(GrantedToken)
	}
	if details.Status == 0 {
		details = granted(GrantedDetails)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Method + " " + r.URL.Path {
		case tokenRequest:
			id, secret, _ := r.BasicAuth()
			assert.Equal(t, url.QueryEscape(ClientID), id)
			assert.Equal(t, url.QueryEscape(ClientSecret), secret)
			assert.Equal(t, "client_credentials", r.PostFormValue("grant_type"))
			token.write(w)
		case detailsRequest:
			assert.Equal(t, "Bearer "+AccessToken, r.Header.Get("Authorization"))
			details.write(w)
		default:
			assert.Fail(t, "a request to an unknown path", "%s %s", r.Method, r.URL.Path)
		}
	}))
	t.Cleanup(server.Close)
	return server
}

// TestSource checks a Source.
func TestSource(t *testing.T, newSource NewSource) {
	t.Helper()
	t.Run("granted", func(t *testing.T) {
		src, logged := newLoggedSource(t, NewServer(t, Answer{}, Answer{}).URL, newSource)
		for range 2 {
			got, err := src.ConnectionDetails(t.Context())
			require.NoError(t, err)
			assert.Equal(t, genesys.ConnectionDetails{
				BootstrapServers: "h1:9094,h2:9094", SASLMechanism: "SCRAM-SHA-512", SASLUsername: "user", SASLPassword: SASLPassword,
				Topics: []string{"genesys-cloud-interaction-events"},
			}, got)
		}
		AssertNoSecret(t, logged.String())
	})
	t.Run("granted without the optional fields", func(t *testing.T) {
		body := `{"connectionDetails":{"bootstrapServers":"[::1]:9094","saslUsername":"u","saslPassword":"p"},"topics":null,"more":{"a":1}}`
		src, _ := newLoggedSource(t, NewServer(t, Answer{}, granted(body)).URL, newSource)
		got, err := src.ConnectionDetails(t.Context())
		require.NoError(t, err)
		assert.Equal(t, genesys.ConnectionDetails{BootstrapServers: "[::1]:9094", SASLUsername: "u", SASLPassword: "p"}, got)
	})
	for _, c := range answerCases() {
		t.Run(c.name, func(t *testing.T) {
			src, logged := newLoggedSource(t, NewServer(t, c.token, c.details).URL, newSource)
			details, err := src.ConnectionDetails(t.Context())
			c.check(t, err)
			assert.Empty(t, details.BootstrapServers)
			AssertNoSecret(t, logged.String())
		})
	}
	t.Run("a refused connection", func(t *testing.T) {
		src, logged := newLoggedSource(t, "http://"+closedAddress(t), newSource)
		_, err := src.ConnectionDetails(t.Context())
		answerCase{}.check(t, err)
		AssertNoSecret(t, logged.String())
	})
	testTokens(t, newSource)
	testFailures(t, newSource)
	testConnectionErrors(t, newSource)
	testIntegrations(t, newSource)
}

// newLoggedSource makes a Source whose logger writes lines of every level to logged.
func newLoggedSource(t *testing.T, apiURL string, newSource NewSource) (src genesys.Source, logged *bytes.Buffer) {
	t.Helper()
	logged = new(bytes.Buffer)
	return newSource(t, genesys.Options{
		APIURL: apiURL, ClientID: ClientID, ClientSecret: ClientSecret,
		Logger: slog.New(slog.NewTextHandler(logged, &slog.HandlerOptions{Level: slog.LevelDebug - 100})),
	}), logged
}

func (c answerCase) check(t *testing.T, err error) {
	t.Helper()
	require.Error(t, err)
	for _, verb := range []string{"%v", "%+v", "%#v", "%q"} {
		AssertNoSecret(t, fmt.Sprintf(verb, err))
	}
	assert.NotContains(t, err.Error(), "\n")
	if c.rejected == "" {
		assert.NotErrorAs(t, err, new(*genesys.RejectedError))
		return
	}
	var rejected *genesys.RejectedError
	require.ErrorAs(t, err, &rejected)
	assert.Equal(t, c.rejected, rejected.Request)
	if c.code != "" {
		assert.Equal(t, c.code, rejected.Code)
	}
	assert.NotEmpty(t, rejected.Cure)
	for _, part := range append(c.contains, c.rejected) {
		assert.Contains(t, err.Error(), part)
	}
}

// closedAddress returns a loopback address that refuses connections.
func closedAddress(t *testing.T) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, listener.Close())
	return listener.Addr().String()
}
