package genesys

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// The environment variables that contain an address, as errors name them.
const (
	apiURLSetting          = "GENESYS_API_URL"
	tokenURLSetting        = "GENESYS_TOKEN_URL"
	eventBridgePathSetting = "GENESYS_EVENTBRIDGE_PATH"
)

// The values that replace an empty field of Options.
const (
	DefaultAPIURL          = "https://api.mypurecloud.com"
	DefaultEventBridgePath = "/api/v2/eventbridge"
	tokenPath              = "/oauth/token"
)

// Options are the settings of a Client. Every error about one of them names the
// environment variable that contains it.
type Options struct {
	// APIURL is the URL of the API in the organisation's region (GENESYS_API_URL). It
	// must be https, or http on loopback. DefaultAPIURL if empty.
	APIURL string
	// TokenURL is the URL that issues tokens (GENESYS_TOKEN_URL). If it is empty, it
	// is made from the API host: api. becomes login., and the path is /oauth/token.
	TokenURL string
	// EventBridgePath is the path of the connection details
	// (GENESYS_EVENTBRIDGE_PATH). DefaultEventBridgePath if empty.
	EventBridgePath string
	// ClientID and ClientSecret are the OAuth client credentials, both required.
	ClientID, ClientSecret string
	// Scope is sent with the token request unless it is empty (GENESYS_OAUTH_SCOPE).
	Scope string
	// HTTPClient replaces the default client. Its redirect policy has no effect.
	HTTPClient *http.Client
	// Logger receives debug lines; nil drops them.
	Logger *slog.Logger
}

// String describes the options without the client secret.
func (o Options) String() string {
	return fmt.Sprintf("API %s, token %s, path %s, client %s", printableURL(o.APIURL), printableURL(o.TokenURL), o.EventBridgePath, o.ClientID)
}

// Format prints String for every verb, so that %+v and %#v do not show the secret.
func (o Options) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, o.String()) }

// LogValue returns String for a log line.
func (o Options) LogValue() slog.Value { return slog.StringValue(o.String()) }

// printableURL hides a password in a URL. It does not show a value that is not a
// URL, because any part of it may be a secret.
func printableURL(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "(not a URL)"
	}
	return u.Redacted()
}

// endpoints are the addresses that a Client sends requests to.
type endpoints struct {
	token, details, integrations *url.URL
	// tokenSetting is the setting that names the host of token.
	tokenSetting string
}

// endpoints checks the options and derives the addresses. Its error has one line
// for each wrong setting.
func (o Options) endpoints() (endpoints, error) {
	api, apiErr := baseURL(apiURLSetting, cmp.Or(o.APIURL, DefaultAPIURL))
	path, pathErr := detailsPath(cmp.Or(o.EventBridgePath, DefaultEventBridgePath))
	errs := []error{apiErr, pathErr, required("GENESYS_CLIENT_ID", o.ClientID), required("GENESYS_CLIENT_SECRET", o.ClientSecret)}

	var token *url.URL
	tokenSetting := apiURLSetting
	switch {
	case o.TokenURL != "":
		var err error
		tokenSetting = tokenURLSetting
		token, err = baseURL(tokenURLSetting, o.TokenURL)
		errs = append(errs, err)
	case api != nil:
		token = deriveTokenURL(api)
	}
	if err := errors.Join(errs...); err != nil {
		return endpoints{}, err
	}
	if api.Path == "" {
		api.Path = "/" // without it, JoinPath returns a relative path
	}
	details := api.JoinPath(path.EscapedPath())
	details.RawQuery = path.RawQuery
	return endpoints{token: token, details: details, integrations: api.JoinPath(integrationsPath), tokenSetting: tokenSetting}, nil
}

func required(setting, value string) error {
	if value == "" {
		return fmt.Errorf("%s: is not set; set it, or set KAFKA_BOOTSTRAP_SERVERS to connect without the Genesys API", setting)
	}
	return nil
}

// ValidateURL checks the value of GENESYS_API_URL or GENESYS_TOKEN_URL as New does.
// A valid value is https, or http on loopback, and has a host but no credentials, no
// query and no fragment. The error begins with the name of the setting and does not
// quote the value.
func ValidateURL(setting, value string) error {
	_, err := baseURL(setting, value)
	return err
}

// ValidatePath checks the value of GENESYS_EVENTBRIDGE_PATH as New does.
func ValidatePath(value string) error {
	_, err := detailsPath(value)
	return err
}

// baseURL parses and checks an address. Its errors do not quote the address, because
// it may contain a password.
func baseURL(setting, raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Hostname() == "":
		return nil, fmt.Errorf("%s: is not a URL with a host; write it like %s", setting, DefaultAPIURL)
	case u.User != nil:
		return nil, fmt.Errorf("%s: contains a user name or password; remove it and set GENESYS_CLIENT_ID and GENESYS_CLIENT_SECRET", setting)
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, fmt.Errorf("%s: contains a query or a fragment; remove it", setting)
	case u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())):
		return nil, fmt.Errorf("%s: is neither https nor http on loopback; use https", setting)
	}
	return u, nil
}

func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || (err == nil && addr.IsLoopback())
}

func detailsPath(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil || u.IsAbs() || u.Host != "" || !strings.HasPrefix(raw, "/") || u.Fragment != "" {
		return nil, fmt.Errorf("%s: is not a path; begin it with exactly one slash, like %s", eventBridgePathSetting, DefaultEventBridgePath)
	}
	return u, nil
}

// deriveTokenURL derives the address of the token endpoint from that of the API. In
// Genesys Cloud, api.{domain} serves the API and login.{domain} issues tokens. Any
// other host, such as a stand-in or a proxy, is assumed to do both.
func deriveTokenURL(api *url.URL) *url.URL {
	host := api.Hostname()
	if domain, ok := strings.CutPrefix(strings.ToLower(host), "api."); ok {
		host = "login." + domain
	}
	switch {
	case api.Port() != "":
		host = net.JoinHostPort(host, api.Port())
	case strings.Contains(host, ":"):
		host = "[" + host + "]"
	}
	return &url.URL{Scheme: api.Scheme, Host: host, Path: tokenPath}
}
