package genesys

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
)

// readDetails turns the answer of GENESYS_EVENTBRIDGE_PATH into connection details.
// The error is a *RejectedError or a *TransientError.
func readDetails(got *answer, request string, redact redactor) (ConnectionDetails, error) {
	if got.isTransient() {
		return ConnectionDetails{}, got.transient(request, redact)
	}
	var problem string
	if got.ok() {
		var details ConnectionDetails
		if details, problem = parseDetails(got); problem == "" {
			return details, nil
		}
	}
	rejected := got.rejection(request, redact)
	rejected.Cure = detailsCure(got.status)
	if problem != "" {
		rejected.Message = redact.with(got.secrets()).text(problem)
	}
	return ConnectionDetails{}, rejected
}

// detailsAnswer is the JSON document of GENESYS_EVENTBRIDGE_PATH. Other fields are
// ignored.
type detailsAnswer struct {
	ConnectionDetails struct {
		BootstrapServers string `json:"bootstrapServers"`
		SASLMechanism    string `json:"saslMechanism"`
		SASLUsername     string `json:"saslUsername"`
		SASLPassword     string `json:"saslPassword"`
	} `json:"connectionDetails"`
	Topics []string `json:"topics"`
}

// parseDetails parses a 2xx answer. problem is empty if the answer is valid.
// Otherwise it names the wrong field and may quote its value.
func parseDetails(got *answer) (details ConnectionDetails, problem string) {
	if got.truncated {
		return details, answerTooLong
	}
	var doc detailsAnswer
	if err := json.Unmarshal(got.body, &doc); err != nil {
		return details, jsonProblem(err)
	}
	read := doc.ConnectionDetails
	var missing []string
	for _, field := range []struct{ name, value string }{
		{"bootstrapServers", read.BootstrapServers},
		{"saslUsername", read.SASLUsername},
		{"saslPassword", read.SASLPassword},
	} {
		if field.value == "" {
			missing = append(missing, "connectionDetails."+field.name)
		}
	}
	if missing != nil {
		return details, "the answer lacks " + strings.Join(missing, ", ")
	}
	servers, problem := bootstrapServers(read.BootstrapServers)
	if problem != "" {
		return details, problem
	}
	if problem := topicsProblem(doc.Topics); problem != "" {
		return details, problem
	}
	return ConnectionDetails{
		BootstrapServers: servers,
		SASLMechanism:    read.SASLMechanism,
		SASLUsername:     read.SASLUsername,
		SASLPassword:     read.SASLPassword,
		Topics:           doc.Topics,
	}, ""
}

// jsonProblem names the field but does not quote its value, which may be a secret.
func jsonProblem(err error) string {
	var wrongType *json.UnmarshalTypeError
	if errors.As(err, &wrongType) && wrongType.Field != "" {
		return wrongType.Field + " has the wrong JSON type"
	}
	return notAnObject
}

// bootstrapServers checks a list of host:port and returns it without spaces.
func bootstrapServers(list string) (servers, problem string) {
	entries := strings.Split(list, ",")
	for i, entry := range entries {
		entries[i] = strings.TrimSpace(entry)
		if !isHostPort(entries[i]) {
			return "", fmt.Sprintf("connectionDetails.bootstrapServers must be a list of host:port, but contains %q", entries[i])
		}
	}
	return strings.Join(entries, ","), ""
}

// hostName matches the characters of DNS names, IPv4 and IPv6 addresses.
var hostName = regexp.MustCompile(`^[A-Za-z0-9._:%-]+$`)

func isHostPort(entry string) bool {
	host, port, err := net.SplitHostPort(entry)
	if err != nil || !hostName.MatchString(host) {
		return false
	}
	number, err := strconv.ParseUint(port, 10, 16)
	return err == nil && number > 0
}

// topicName matches the names that Kafka allows. It excludes names that begin with
// ^, because librdkafka treats those as patterns: a server could make ingest
// subscribe to any topic.
var topicName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,249}$`)

func topicsProblem(topics []string) string {
	for i, topic := range topics {
		if !topicName.MatchString(topic) {
			return fmt.Sprintf("topics[%d] is not a valid name of a Kafka topic: %q", i, topic)
		}
	}
	return ""
}

// detailsCure names the settings to check if the API rejected the connection details.
func detailsCure(status int) string {
	const withoutAPI = "or set KAFKA_BOOTSTRAP_SERVERS, KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD to connect without the Genesys API"
	switch {
	case status == http.StatusUnauthorized:
		return wrongRegionCure
	case status == http.StatusForbidden:
		return "give the OAuth client in GENESYS_CLIENT_ID a role with the permission to read GENESYS_EVENTBRIDGE_PATH, " + withoutAPI
	case status >= 300 && status <= 399:
		return "check GENESYS_API_URL and GENESYS_EVENTBRIDGE_PATH"
	}
	return "check GENESYS_EVENTBRIDGE_PATH and GENESYS_API_URL, " + withoutAPI
}

// wrongRegionCure is for a 401 to a new token: one region's API rejects the tokens
// of another.
const wrongRegionCure = "check that GENESYS_API_URL and GENESYS_TOKEN_URL belong to the region of GENESYS_CLIENT_ID"
