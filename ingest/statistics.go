package ingest

import (
	"encoding/json"
	"time"
)

// statistics is the part of librdkafka's statistics that shows whether the brokers answer;
// see librdkafka's STATISTICS.md.
type statistics struct {
	Brokers map[string]struct {
		NodeID int    `json:"nodeid"`
		State  string `json:"state"`
	} `json:"brokers"`
	Group struct {
		State     string `json:"state"`
		JoinState string `json:"join_state"`
	} `json:"cgrp"`
}

// joined reports whether the group is joined and a broker is connected to read from.
func (st statistics) joined() bool {
	if st.Group.State != "up" || st.Group.JoinState != "steady" {
		return false
	}
	for _, broker := range st.Brokers {
		if broker.NodeID >= 0 && broker.State == "UP" {
			return true
		}
	}
	return false
}

// connected reports whether a broker has accepted our credentials.
func (st statistics) connected() bool {
	for _, broker := range st.Brokers {
		if broker.State == "UP" {
			return true
		}
	}
	return false
}

// allConnected reports whether every broker that librdkafka needs is connected: none is
// about to authenticate, and none has failed to.
func (st statistics) allConnected() bool {
	for _, broker := range st.Brokers {
		if broker.State != "UP" && broker.State != "INIT" {
			return false
		}
	}
	return true
}

// handleStatistics acts on librdkafka's statistics, which come once a second. It returns an
// error if the session must end.
func (s *session) handleStatistics(text string, now time.Time) error {
	var stats statistics
	if err := json.Unmarshal([]byte(text), &stats); err != nil {
		s.log.Warn("librdkafka's statistics cannot be read, so the readiness of Kafka is not updated", "error", err)
		return nil
	}
	if stats.connected() {
		s.connectedAt = now
		if IsAuthenticationError(s.rejection) && s.credentialsAccepted(stats) {
			s.rejectedSince, s.rejection = time.Time{}, nil
		}
	}
	if stats.joined() {
		s.steadyAt = now
		if !IsAuthenticationError(s.rejection) {
			s.rejectedSince, s.rejection = time.Time{}, nil
		}
		s.established = s.established || s.canRead(now)
	}
	s.reportReadiness(now)
	if !s.rejectedSince.IsZero() && now.Sub(s.rejectedSince) >= rejectionPatience {
		return s.credentialsError(s.rejection)
	}
	return nil
}

// credentialsAccepted reports whether the brokers accept the credentials after all.
//
// One connected broker is enough before the group is joined, because another broker may get
// its users late. It is also enough with tokens, because librdkafka reports a token that it
// could not renew as rejected too. Otherwise all brokers must be connected: one that rejects
// what the others accepted is enough for a rejection. librdkafka also reports a connection
// that broke while it authenticated as rejected, but such a broker is soon connected again.
func (s *session) credentialsAccepted(stats statistics) bool {
	return !s.established || s.connection.SASLMechanism == OAuthBearer || stats.allConnected()
}
