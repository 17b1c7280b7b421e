; Definitions
(class_declaration name: (identifier) @name) @type
(record_declaration name: (identifier) @name) @type
(enum_declaration name: (identifier) @name) @type
(interface_declaration name: (identifier) @name) @interface
(annotation_type_declaration name: (identifier) @name) @interface
(method_declaration name: (identifier) @name) @function
(constructor_declaration name: (identifier) @name) @function
((field_declaration (modifiers) @modifiers declarator: (variable_declarator name: (identifier) @name)) @constant
  (#match? @modifiers "static") (#match? @modifiers "final"))

; References
(type_identifier) @reference
(method_invocation name: (identifier) @reference)
(method_invocation object: (identifier) @reference)
(method_reference (identifier) @reference)
(field_access field: (identifier) @reference)
(marker_annotation name: (identifier) @reference)
(annotation name: (identifier) @reference)
(import_declaration (scoped_identifier name: (identifier) @reference))
