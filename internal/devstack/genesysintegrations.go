package devstack

import (
	"net/http"
	"slices"
	"strconv"
)

// Integration is one of Genesys Cloud with Amazon EventBridge.
type Integration struct {
	Name                    string
	Type                    string // default amazon-eventbridge-source
	Intended, Reported      string // default ENABLED and ACTIVE
	Message                 string // of the reported state
	Account, Region, Suffix string
	Topics                  []string
}

const eventBridgeSource = "amazon-eventbridge-source"

// integrations answers with one page of those of the type that is asked for. The
// configuration is there only where it is asked for, as in the real API.
func (g *Genesys) integrations(w http.ResponseWriter, r *http.Request) {
	if !g.known(r.Header.Get("Authorization")) {
		apiFailure(w, http.StatusUnauthorized, "bad.credentials", "Invalid login credentials.")
		return
	}
	query := r.URL.Query()
	number, size := atLeastOne(query.Get("pageNumber"), 1), atLeastOne(query.Get("pageSize"), 25)
	var chosen []map[string]any
	for i, one := range g.options.Integrations {
		if kind := query.Get("integrationType"); kind == "" || kind == orDefault(one.Type, eventBridgeSource) {
			chosen = append(chosen, one.entity(i+1, slices.Contains(query["expand"], "config.current")))
		}
	}
	from := min((number-1)*size, len(chosen))
	to := min(from+size, len(chosen))
	page := map[string]any{"entities": chosen[from:to], "pageNumber": number, "pageSize": size, "total": len(chosen), "pageCount": (len(chosen) + size - 1) / size}
	if to < len(chosen) {
		page["nextUri"] = IntegrationsPath + "?pageNumber=" + strconv.Itoa(number+1)
	}
	writeJSON(w, http.StatusOK, page)
}

func atLeastOne(text string, fallback int) int {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return fallback
	}
	return n
}

func (i Integration) entity(id int, expanded bool) map[string]any {
	config := map[string]any{}
	if expanded {
		config["current"] = map[string]any{"properties": map[string]any{
			"awsAccountId": i.Account, "awsAccountRegion": i.Region, "eventSourceSuffix": i.Suffix, "eventFilter": i.Topics,
		}}
	}
	return map[string]any{
		"id": strconv.Itoa(id), "name": i.Name, "integrationType": map[string]any{"id": orDefault(i.Type, eventBridgeSource)},
		"intendedState": orDefault(i.Intended, "ENABLED"),
		"reportedState": map[string]any{"code": orDefault(i.Reported, "ACTIVE"), "detail": map[string]any{"message": i.Message}},
		"config":        config,
	}
}
