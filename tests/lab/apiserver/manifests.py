"""What the tests apply."""

DEMO = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: deathstar, labels: {org: empire}}
spec:
  replicas: 2
  selector: {matchLabels: {org: empire, class: deathstar}}
  template:
    metadata: {labels: {org: empire, class: deathstar}}
    spec:
      containers:
      - {name: deathstar, image: quay.io/cilium/starwars, ports: [{containerPort: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: deathstar}
spec:
  type: ClusterIP
  ports: [{port: 80}]
  selector: {org: empire, class: deathstar}
---
apiVersion: v1
kind: Pod
metadata: {name: xwing, labels: {org: alliance, class: xwing}}
spec:
  containers: [{name: spaceship, image: quay.io/cilium/json-mock}]
"""

WIDGETS = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.test.cilia.io}
spec:
  group: test.cilia.io
  scope: Namespaced
  names: {plural: widgets, kind: Widget, shortNames: [wd], categories: [gadgets]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources:
      status: {}
      scale: {specReplicasPath: .spec.count, statusReplicasPath: .status.count}
    additionalPrinterColumns:
    - {name: Size, type: integer, jsonPath: .spec.size}
    - {name: Valid, type: string, jsonPath: ".status.conditions[?(@.type=='Valid')].status"}
    - {name: Age, type: date, jsonPath: .metadata.creationTimestamp}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            description: What the widget should be.
            required: [size]
            properties:
              size: {type: integer, minimum: 1, description: How large it is.}
              colour: {type: string, enum: [red, blue], default: red}
              count: {type: integer}
              parts:
                type: array
                x-kubernetes-list-type: map
                x-kubernetes-list-map-keys: [name]
                items:
                  type: object
                  required: [name]
                  properties: {name: {type: string}, weight: {type: integer}}
          status: {type: object, x-kubernetes-preserve-unknown-fields: true}
  - name: v1beta1
    served: true
    storage: false
    schema:
      openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}
"""

WIDGET = """
apiVersion: test.cilia.io/v1
kind: Widget
metadata: {name: w1}
spec: {size: 3, parts: [{name: a, weight: 1}]}
"""
