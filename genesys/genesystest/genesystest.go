// Package genesystest holds the behaviour that every genesys.Source keeps: a
// table of answers over a scripted server on loopback, and what depends on time
// over a network without sockets.
//
// It refuses to check what only one implementation can give.
package genesystest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"genesys-fanout/genesys"
)

// The credentials of the scripted server. None may stand in an error or a log.
const (
	ClientID     = "5e0b1c62-client"
	ClientSecret = `s3cr3t+/"<client>&%`
	AccessToken  = "t0ken-abcdefghijklmnop"
	SASLPassword = "pa55-word-of-kafka"
)

// Granted are the bodies of a server that refuses nothing.
const (
	GrantedToken   = `{"access_token":"` + AccessToken + `","token_type":"bearer","expires_in":86400}`
	GrantedDetails = `{"connectionDetails":{"bootstrapServers":"h1:9094, h2:9094","saslMechanism":"SCRAM-SHA-512","saslUsername":"user","saslPassword":"` +
		SASLPassword + `"},"topics":["genesys-cloud-interaction-events"]}`
)

// Answer is what the scripted server says to a request.
type Answer struct {
	Status int
	Header http.Header
	Body   string
}

func (a Answer) write(w http.ResponseWriter) {
	for name, values := range a.Header {
		w.Header()[name] = values
	}
	if w.Header().Get("Content-Type") == "" {
		w.Header().Set("Content-Type", "application/json")
	}
	w.WriteHeader(a.Status)
	_, _ = w.Write([]byte(a.Body))
}

// Echo is an error body that holds every secret, plain and encoded, in every
// field that an error may quote.
func Echo() string {
	basic := base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(ClientID) + ":" + url.QueryEscape(ClientSecret)))
	all := fmt.Sprintf("%s %s %s Basic %s Bearer %s %s", ClientSecret, url.QueryEscape(ClientSecret), url.PathEscape(ClientSecret), basic, AccessToken, SASLPassword)
	return fmt.Sprintf(`{"message":%[1]q,"code":%[1]q,"contextId":%[1]q,"error":%[1]q,"error_description":%[1]q,"access_token":%[2]q,`+
		`"connectionDetails":{"saslPassword":%[3]q}}`, all, AccessToken, SASLPassword)
}

// leaks are the forms in which a secret must not appear.
func leaks() []string {
	quoted := strconv.Quote(ClientSecret)
	inJSON, _ := json.Marshal(ClientSecret)
	return []string{
		quoted[1 : len(quoted)-1], string(inJSON[1 : len(inJSON)-1]),
		ClientSecret, url.QueryEscape(ClientSecret), url.PathEscape(ClientSecret), AccessToken, SASLPassword,
		base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(ClientID) + ":" + url.QueryEscape(ClientSecret))),
		"Authorization",
	}
}

// NoSecret fails the test when a text holds one of the scripted server's secrets.
func NoSecret(t *testing.T, text string) {
	t.Helper()
	for _, leak := range leaks() {
		assert.NotContains(t, text, leak)
	}
}

type behaviour struct {
	name    string
	token   Answer
	details Answer
	// refused is the request, "" where the failure may pass.
	refused string
	code    string
	says    []string
}

// ok answers 200.
func ok(body string) Answer { return Answer{Status: http.StatusOK, Body: body} }

const (
	askToken   = "POST /oauth/token"
	askDetails = "GET /api/v2/eventbridge"
)

func behaviours() []behaviour {
	genesysError := `{"message":"No permission","code":"missing.permission","status":403,"contextId":"ctx-1"}`
	table := []behaviour{
		{name: "token: bad client", token: Answer{Status: 401, Body: `{"error":"invalid_client","description":"client not found"}`}, refused: askToken, code: "invalid_client", says: []string{"401", "GENESYS_CLIENT_SECRET"}},
		{name: "token: without access_token", token: ok(`{"token_type":"bearer","expires_in":60}`), refused: askToken, says: []string{"access_token"}},
		{name: "token: not JSON", token: ok(`<html>`), refused: askToken, says: []string{"JSON"}},
		{name: "details: 403", details: Answer{Status: 403, Body: genesysError}, refused: askDetails, code: "missing.permission", says: []string{"ctx-1", "role", "403"}},
		{name: "details: not JSON", details: ok(`<html>`), refused: askDetails, says: []string{"JSON"}},
		{name: "details: an array", details: ok(`[]`), refused: askDetails, says: []string{"JSON object"}},
		{name: "details: empty", details: Answer{Status: 204}, refused: askDetails, says: []string{"JSON"}},
		{name: "details: no fields", details: ok(`{}`), refused: askDetails, says: []string{"connectionDetails.bootstrapServers", "connectionDetails.saslUsername", "connectionDetails.saslPassword"}},
		{name: "details: password of the wrong type", details: ok(`{"connectionDetails":{"bootstrapServers":"h:1","saslUsername":"u","saslPassword":55555}}`), refused: askDetails, says: []string{"connectionDetails.saslPassword"}},
		{name: "details: topic is a pattern", details: ok(`{"connectionDetails":{"bootstrapServers":"h:1","saslUsername":"u","saslPassword":"p4ss"},"topics":["a","^.*"]}`), refused: askDetails, says: []string{"topics[1]"}},
	}
	for _, status := range []int{400, 403, 404, 405, 301, 302, 307, 308} {
		table = append(table, behaviour{name: fmt.Sprintf("token: %d", status), token: Answer{Status: status, Header: http.Header{"Location": {"/elsewhere"}}, Body: `{}`}, refused: askToken, says: []string{fmt.Sprint(status), "GENESYS_"}})
	}
	for _, status := range []int{400, 401, 404, 405, 410, 422, 301, 302, 307, 308} {
		table = append(table, behaviour{name: fmt.Sprintf("details: %d", status), details: Answer{Status: status, Header: http.Header{"Location": {"/elsewhere"}}, Body: `{}`}, refused: askDetails, says: []string{fmt.Sprint(status), "GENESYS_"}})
	}
	for _, servers := range []string{"h1", "h1:", ":9094", "h1:0", "h1:65536", "h1:x", "h1:9094,", "SASL_SSL://h1:9094", "h 1:9094", "h1:9094;h2:9094"} {
		body := fmt.Sprintf(`{"connectionDetails":{"bootstrapServers":%q,"saslUsername":"u","saslPassword":"p4ss"}}`, servers)
		table = append(table, behaviour{name: "details: bootstrapServers " + servers, details: ok(body), refused: askDetails, says: []string{"connectionDetails.bootstrapServers", "host:port"}})
	}
	for _, status := range []int{408, 429, 500, 502, 503, 504} {
		table = append(table,
			behaviour{name: fmt.Sprintf("token: %d", status), token: Answer{Status: status, Body: `{}`}},
			behaviour{name: fmt.Sprintf("details: %d", status), details: Answer{Status: status, Body: `{}`}})
	}
	// JSON that is no object: read into a pointer, null leaves nothing behind it.
	for _, status := range []int{200, 400, 401, 403, 404} {
		table = append(table,
			behaviour{name: fmt.Sprintf("token: %d null", status), token: Answer{Status: status, Body: `null`}, refused: askToken, says: []string{fmt.Sprint(status), "GENESYS_"}},
			behaviour{name: fmt.Sprintf("details: %d null", status), details: Answer{Status: status, Body: `null`}, refused: askDetails, says: []string{fmt.Sprint(status), "GENESYS_"}})
	}
	for _, status := range []int{429, 500, 501} {
		table = append(table,
			behaviour{name: fmt.Sprintf("token: %d null", status), token: Answer{Status: status, Body: `null`}},
			behaviour{name: fmt.Sprintf("details: %d null", status), details: Answer{Status: status, Body: `null`}})
	}
	echo := func(status int) Answer {
		all := ClientSecret + " " + AccessToken + " " + SASLPassword
		return Answer{Status: status, Header: http.Header{"Inin-Correlation-Id": {all}, "Location": {"/?" + url.QueryEscape(all)}}, Body: Echo()}
	}
	for _, status := range []int{200, 302, 400, 401, 403, 404} {
		table = append(table,
			behaviour{name: fmt.Sprintf("token: %d that echoes the secrets", status), token: echo(status), refused: askToken},
			behaviour{name: fmt.Sprintf("details: %d that echoes the secrets", status), details: echo(status), refused: askDetails})
	}
	for _, status := range []int{429, 500, 503} {
		table = append(table,
			behaviour{name: fmt.Sprintf("token: %d that echoes the secrets", status), token: echo(status)},
			behaviour{name: fmt.Sprintf("details: %d that echoes the secrets", status), details: echo(status)})
	}
	return append(table, behaviour{
		name:    "details: bootstrapServers is the password",
		details: ok(fmt.Sprintf(`{"connectionDetails":{"bootstrapServers":%[1]q,"saslUsername":"u","saslPassword":%[1]q}}`, SASLPassword)),
		refused: askDetails, says: []string{"connectionDetails.bootstrapServers"},
	})
}

// Server is a scripted Genesys Cloud on loopback: it checks the credentials and
// the token, then says what it was given; an Answer without status is a grant.
// Whatever is asked elsewhere fails the test.
func Server(t *testing.T, token, details Answer) *httptest.Server {
	t.Helper()
	if token.Status == 0 {
		token = ok(GrantedToken)
	}
	if details.Status == 0 {
		details = ok(GrantedDetails)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Method + " " + r.URL.Path {
		case askToken:
			id, secret, _ := r.BasicAuth()
			assert.Equal(t, url.QueryEscape(ClientID), id)
			assert.Equal(t, url.QueryEscape(ClientSecret), secret)
			assert.Equal(t, "client_credentials", r.PostFormValue("grant_type"))
			token.write(w)
		case askDetails:
			assert.Equal(t, "Bearer "+AccessToken, r.Header.Get("Authorization"))
			details.write(w)
		default:
			assert.Fail(t, "asked elsewhere", "%s %s", r.Method, r.URL.Path)
		}
	}))
	t.Cleanup(server.Close)
	return server
}

// Run checks a Source.
func Run(t *testing.T, newSource NewSource) {
	t.Helper()
	t.Run("granted", func(t *testing.T) {
		src, logged := source(t, Server(t, Answer{}, Answer{}).URL, newSource)
		for range 2 {
			got, err := src.ConnectionDetails(t.Context())
			require.NoError(t, err)
			assert.Equal(t, genesys.ConnectionDetails{
				BootstrapServers: "h1:9094,h2:9094", SASLMechanism: "SCRAM-SHA-512", SASLUsername: "user", SASLPassword: SASLPassword,
				Topics: []string{"genesys-cloud-interaction-events"},
			}, got)
		}
		NoSecret(t, logged.String())
	})
	t.Run("granted without what is optional", func(t *testing.T) {
		body := `{"connectionDetails":{"bootstrapServers":"[::1]:9094","saslUsername":"u","saslPassword":"p"},"topics":null,"more":{"a":1}}`
		src, _ := source(t, Server(t, Answer{}, ok(body)).URL, newSource)
		got, err := src.ConnectionDetails(t.Context())
		require.NoError(t, err)
		assert.Equal(t, genesys.ConnectionDetails{BootstrapServers: "[::1]:9094", SASLUsername: "u", SASLPassword: "p"}, got)
	})
	for _, b := range behaviours() {
		t.Run(b.name, func(t *testing.T) {
			src, logged := source(t, Server(t, b.token, b.details).URL, newSource)
			details, err := src.ConnectionDetails(t.Context())
			b.check(t, err)
			assert.Empty(t, details.BootstrapServers)
			NoSecret(t, logged.String())
		})
	}
	t.Run("nobody listens", func(t *testing.T) {
		src, logged := source(t, "http://"+closedAddress(t), newSource)
		_, err := src.ConnectionDetails(t.Context())
		behaviour{}.check(t, err)
		NoSecret(t, logged.String())
	})
	tokens(t, newSource)
	failures(t, newSource)
	connections(t, newSource)
	integrations(t, newSource)
}

// source makes a Source whose logger, at the lowest level, writes to logged.
func source(t *testing.T, apiURL string, newSource NewSource) (src genesys.Source, logged *bytes.Buffer) {
	t.Helper()
	logged = new(bytes.Buffer)
	return newSource(t, genesys.Options{
		APIURL: apiURL, ClientID: ClientID, ClientSecret: ClientSecret,
		Logger: slog.New(slog.NewTextHandler(logged, &slog.HandlerOptions{Level: slog.LevelDebug - 100})),
	}), logged
}

func (b behaviour) check(t *testing.T, err error) {
	t.Helper()
	require.Error(t, err)
	for _, verb := range []string{"%v", "%+v", "%#v", "%q"} {
		NoSecret(t, fmt.Sprintf(verb, err))
	}
	assert.NotContains(t, err.Error(), "\n")
	if b.refused == "" {
		assert.NotErrorAs(t, err, new(*genesys.Refusal))
		return
	}
	var refusal *genesys.Refusal
	require.ErrorAs(t, err, &refusal)
	assert.Equal(t, b.refused, refusal.Request)
	if b.code != "" {
		assert.Equal(t, b.code, refusal.Code)
	}
	assert.NotEmpty(t, refusal.Cure)
	for _, say := range append(b.says, b.refused) {
		assert.Contains(t, err.Error(), say)
	}
}

// closedAddress is a loopback address that refuses connections.
func closedAddress(t *testing.T) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, listener.Close())
	return listener.Addr().String()
}
