package platformclientv2

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"regexp"
)

// Configuration is the settings and the token of a client.
type Configuration struct {
	BasePath              string
	AccessToken           string
	AccessTokenExpiresIn  int  // seconds
	AutomaticTokenRefresh bool // has no effect here
	APIClient             APIClient
}

// callLog is a package variable as in the SDK: making a Configuration writes it, and
// every call reads it.
var callLog *log.Logger

// NewConfigurationWithConfigFile makes a Configuration with the SDK's defaults. In this
// stand-in, filePath must be empty and autoReload false.
func NewConfigurationWithConfigFile(filePath string, autoReload bool) *Configuration {
	if filePath != "" || autoReload {
		panic("the stand-in for the Genesys SDK reads no configuration file")
	}
	callLog = log.New(io.Discard, "", 0)
	c := &Configuration{BasePath: "https://api.mypurecloud.com"}
	c.APIClient = NewAPIClient(c)
	return c
}

var apiHost = regexp.MustCompile(`(?i)//api\.`)

// AuthorizeClientCredentials requests a token from /oauth/token below BasePath and
// keeps it. If the host begins with api., it sends the request to login. instead.
func (c *Configuration) AuthorizeClientCredentials(clientID, clientSecret string) error {
	basic := base64.StdEncoding.EncodeToString([]byte(clientID + ":" + clientSecret))
	response, err := c.APIClient.CallAPI(apiHost.ReplaceAllString(c.BasePath, "//login.")+"/oauth/token", http.MethodPost, nil,
		map[string]string{"Authorization": "Basic " + basic}, nil, url.Values{"grant_type": {"client_credentials"}}, "", nil, "login")
	if response == nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		var failure *struct {
			Error       string `json:"error"`
			Description string `json:"error_description"`
		}
		if err := json.Unmarshal(response.RawBody, &failure); err != nil {
			return err
		}
		return fmt.Errorf("Auth Error: %d - %s (%s)", response.StatusCode, failure.Error, failure.Description) //nolint:staticcheck // the SDK's text
	}
	var granted *struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int    `json:"expires_in"`
	}
	if err := json.Unmarshal(response.RawBody, &granted); err != nil {
		return err
	}
	if c.AccessToken = granted.AccessToken; c.AccessToken == "" {
		return errors.New("Auth Error: No access token found") //nolint:staticcheck // the SDK's text
	}
	c.AccessTokenExpiresIn = granted.ExpiresIn
	return nil
}
