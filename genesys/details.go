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

// readDetails turns the answer of GENESYS_EVENTBRIDGE_PATH into connection
// details, a *Refusal or a *Temporary.
func readDetails(got *answer, request string, clean redactor) (ConnectionDetails, error) {
	if got.passes() {
		return ConnectionDetails{}, got.temporary(request, clean)
	}
	var fault string
	if got.ok() {
		var details ConnectionDetails
		if details, fault = parseDetails(got); fault == "" {
			return details, nil
		}
	}
	refusal := got.refusal(request, clean)
	refusal.Cure = detailsCure(got.status)
	if fault != "" {
		refusal.Message = clean.with(got.secrets()).clean(fault)
	}
	return ConnectionDetails{}, refusal
}

// detailsAnswer is the document of GENESYS_EVENTBRIDGE_PATH. Other fields are
// left aside.
type detailsAnswer struct {
	ConnectionDetails struct {
		BootstrapServers string `json:"bootstrapServers"`
		SASLMechanism    string `json:"saslMechanism"`
		SASLUsername     string `json:"saslUsername"`
		SASLPassword     string `json:"saslPassword"`
	} `json:"connectionDetails"`
	Topics []string `json:"topics"`
}

// parseDetails reads a granted answer. fault names the field that is wrong and
// may quote its value.
func parseDetails(got *answer) (details ConnectionDetails, fault string) {
	if got.overlong {
		return details, "the answer is longer than 1 MiB"
	}
	var doc detailsAnswer
	if err := json.Unmarshal(got.body, &doc); err != nil {
		return details, jsonFault(err)
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
		return details, "the answer has no " + strings.Join(missing, ", ")
	}
	servers, fault := bootstrapServers(read.BootstrapServers)
	if fault != "" {
		return details, fault
	}
	if fault := topicsFault(doc.Topics); fault != "" {
		return details, fault
	}
	return ConnectionDetails{
		BootstrapServers: servers,
		SASLMechanism:    read.SASLMechanism,
		SASLUsername:     read.SASLUsername,
		SASLPassword:     read.SASLPassword,
		Topics:           doc.Topics,
	}, ""
}

// jsonFault names the field and not its value, which may be a secret.
func jsonFault(err error) string {
	var wrongType *json.UnmarshalTypeError
	if errors.As(err, &wrongType) && wrongType.Field != "" {
		return wrongType.Field + " is of the wrong type"
	}
	return "the answer is not a JSON object"
}

// bootstrapServers checks a list of host:port and gives it without spaces.
func bootstrapServers(list string) (servers, fault string) {
	entries := strings.Split(list, ",")
	for i, entry := range entries {
		entries[i] = strings.TrimSpace(entry)
		if !hostPort(entries[i]) {
			return "", fmt.Sprintf("connectionDetails.bootstrapServers is not a list of host:port: %q", entries[i])
		}
	}
	return strings.Join(entries, ","), ""
}

// hostName are the characters of DNS names, IPv4 and IPv6 addresses.
var hostName = regexp.MustCompile(`^[A-Za-z0-9._:%-]+$`)

func hostPort(entry string) bool {
	host, port, err := net.SplitHostPort(entry)
	if err != nil || !hostName.MatchString(host) {
		return false
	}
	number, err := strconv.ParseUint(port, 10, 16)
	return err == nil && number > 0
}

// topicName is what Kafka takes as a topic. Consumers read a name that begins
// with ^ as a pattern, which must not come from outside.
var topicName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,249}$`)

func topicsFault(topics []string) string {
	for i, topic := range topics {
		if !topicName.MatchString(topic) {
			return fmt.Sprintf("topics[%d] is not the name of a Kafka topic: %q", i, topic)
		}
	}
	return ""
}

// detailsCure names the settings that the refused request depends on.
func detailsCure(status int) string {
	const without = "or set KAFKA_BOOTSTRAP_SERVERS, KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD to do without it"
	switch {
	case status == http.StatusUnauthorized:
		return "check that GENESYS_API_URL and GENESYS_TOKEN_URL are of the region of GENESYS_CLIENT_ID"
	case status == http.StatusForbidden:
		return "give the OAuth client of GENESYS_CLIENT_ID a role with the permission, " + without
	case status >= 300 && status <= 399:
		return "check GENESYS_API_URL and GENESYS_EVENTBRIDGE_PATH"
	}
	return "check GENESYS_EVENTBRIDGE_PATH and GENESYS_API_URL, " + without
}
