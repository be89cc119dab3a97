package devstack

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
)

// Integration is an integration of Genesys Cloud, usually with Amazon EventBridge.
type Integration struct {
	Name                    string
	Type                    string // default amazon-eventbridge-source
	Intended, Reported      string // states; default ENABLED and ACTIVE
	Message                 string // of the reported state
	Account, Region, Suffix string
	Topics                  []string
}

const eventBridgeSource = "amazon-eventbridge-source"

// serveIntegrations answers with a page of the integrations of the requested type, or of all types if
// the request names none. As in the real API, an integration contains its configuration only if the
// request expands it.
func (g *Genesys) serveIntegrations(w http.ResponseWriter, r *http.Request) {
	if !g.isAuthorized(r) {
		apiError(w, http.StatusUnauthorized, "bad.credentials", "Invalid login credentials.")
		return
	}
	query := r.URL.Query()
	number, size := parsePositive(query.Get("pageNumber"), 1), parsePositive(query.Get("pageSize"), 25)
	var chosen []map[string]any
	for i, integration := range g.options.Integrations {
		if kind := query.Get("integrationType"); kind == "" || kind == cmp.Or(integration.Type, eventBridgeSource) {
			chosen = append(chosen, integration.entity(i+1, slices.Contains(query["expand"], "config.current")))
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

// parsePositive returns the positive integer in text, or fallback if there is none.
func parsePositive(text string, fallback int) int {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return fallback
	}
	return n
}

// entity returns an integration as the API writes it.
func (i Integration) entity(id int, expanded bool) map[string]any {
	config := map[string]any{}
	if expanded {
		config["current"] = map[string]any{"properties": map[string]any{
			"awsAccountId": i.Account, "awsAccountRegion": i.Region, "eventSourceSuffix": i.Suffix, "eventFilter": i.Topics,
		}}
	}
	return map[string]any{
		"id": strconv.Itoa(id), "name": i.Name, "integrationType": map[string]any{"id": cmp.Or(i.Type, eventBridgeSource)},
		"intendedState": cmp.Or(i.Intended, "ENABLED"),
		"reportedState": map[string]any{"code": cmp.Or(i.Reported, "ACTIVE"), "detail": map[string]any{"message": i.Message}},
		"config":        config,
	}
}
