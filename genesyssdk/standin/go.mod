// A stand-in for the Genesys SDK, under the SDK's module path: see platformclientv2/doc.go.
module github.com/mypurecloud/platform-client-sdk-go/v188

go 1.26.8
